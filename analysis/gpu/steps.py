"""Steps of the report, each a process of its own: one that fails, hangs or ruins its context stops no other."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analysis.engine.cells import ROOT

Row = dict[str, Any]
OUT_OF_TIME = "not run: out of time"
LEAST = 5.0  # seconds below which a step is not begun


class Step(NamedTuple):
    """A command whose output's lines are rows, or hold what `parse` makes rows of."""

    name: str
    command: list[str]
    seconds: float  # at most
    parse: Callable[[str], Row | None]
    finish: Callable[[int | None, list[Row]], Row] = lambda code, rows: {}  # the exit status, None: it was stopped
    missing: str = ""  # why it cannot run


def run(groups: Sequence[Sequence[Step]], budget: float, say: Callable[[str], None] = print) -> Iterator[Row]:
    """Rows as they come: the groups one after the other, the steps of a group side by side, all within the budget."""
    end = time.monotonic() + budget
    for group in groups:
        ready: queue.Queue[Row | None] = queue.Queue()
        workers = [threading.Thread(target=_step, args=(step, end, ready.put, say), daemon=True) for step in group]
        for worker in workers:
            worker.start()
        waiting = len(workers)
        while waiting:
            row = ready.get()
            waiting -= row is None
            if row is not None:
                yield row


def _step(step: Step, end: float, keep: Callable[[Row | None], None], say: Callable[[str], None]) -> None:
    """One step, whatever happens."""
    start = time.monotonic()
    row: Row = {"part": "step", "name": step.name}
    try:
        row |= _guarded(step, end, keep, say)
    except Exception as error:  # of this program: told as well
        row |= {"note": f"failed: {type(error).__name__}: {error}"}
    spent = time.monotonic() - start
    say(f"{step.name}: {row.get('note') or 'done'} ({spent:.0f} s)")
    keep(row | {"seconds": spent})
    keep(None)


def _guarded(step: Step, end: float, keep: Callable[[Row | None], None], say: Callable[[str], None]) -> Row:
    if step.missing:
        return {"note": f"not run: {step.missing}"}
    seconds = min(step.seconds, end - time.monotonic())
    if seconds < LEAST:
        return {"note": OUT_OF_TIME}
    say(f"{step.name}: begins, {seconds:.0f} s at most")
    code, rows, complaint = _lines(step, seconds, keep)
    row = step.finish(code, rows)
    if code is None:
        return row | {"note": f"not finished: stopped after {seconds:.0f} s, {len(rows)} rows are kept"}
    if code and "note" not in row:
        return row | {"note": f"failed with status {code}: {complaint}"}
    return row


def _lines(step: Step, seconds: float, keep: Callable[[Row | None], None]) -> tuple[int | None, list[Row], str]:
    """Status, rows, and the last line of its complaints."""
    rows: list[Row] = []
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            step.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace",
            start_new_session=True,
        )  # fmt: skip
        late = threading.Event()
        timer = threading.Timer(seconds, _stop, (process, late))
        timer.start()
        try:
            for line in process.stdout or ():
                row = step.parse(line)
                if row is not None:
                    rows.append(row)
                    keep(row)
            process.wait()
        finally:
            timer.cancel()
            _stop(process, threading.Event())
            with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold on to it
                process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
        errors.seek(0)
        lines = [line.strip() for line in errors if line.strip()]
    return None if late.is_set() else process.returncode, rows, (lines or ["nothing was said"])[-1][:300]


def _stop(process: subprocess.Popen, late: threading.Event) -> None:
    """End the step and all that it has started."""
    if process.poll() is None:
        late.set()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def tool(name: str) -> Path | None:
    """A program of CUDA's, on the PATH or in its usual place."""
    import shutil

    found = shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")
    return Path(found) if found else None
