"""A process beside each thread: training holds Python's interpreter too long for several runs to share one.

Each is ``python -m analysis.experiments.training.processes`` and talks JSON, a message a line: a call goes in; how far
it is, and its result or its error, come out.  It lives on for its thread's next call.  Its input ends when its thread
does, or when the command does, however it is killed, and with its input it ends itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any, TextIO

from tqdm import tqdm

from analysis.engine.cells import ROOT

ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_own = threading.local()


class Elsewhere(Exception):
    """The traceback of an error in another process, as the cause of the one told here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def apart(function: Callable[..., Any], /, **parameters: Any) -> Any:
    """``function(**parameters)``, by way of JSON, in this thread's own process.

    RuntimeError says what went wrong there; a process that died of it is replaced at the next call.
    """
    process = getattr(_own, "process", None)
    if process is None or not process.alive:
        process = _own.process = Process()
    with Bar() as bar:
        return process.call(f"{function.__module__}:{function.__qualname__}", parameters, bar.show)


class Process:
    """The other end."""

    def __init__(self) -> None:
        self.alive = True
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE, "PYTHONPATH": path},
        )
        self.close = weakref.finalize(self, _end, self._process)

    def call(self, function: str, parameters: dict[str, Any], show: Callable[[dict[str, Any]], None]) -> Any:
        """The result; `show` gets the messages before it."""
        self.alive = False  # unless it answers: what is left of a call that was given up must not answer the next
        answer = self._answer(json.dumps({"function": function, "parameters": parameters}), show)
        if answer is None:
            self.close()
            raise RuntimeError(f"{function}: its process {_fate(self._process.returncode)}")
        self.alive = True
        if "error" in answer:
            raise RuntimeError(answer["error"]) from Elsewhere(answer["traceback"])
        return answer["result"]

    def _answer(self, call: str, show: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
        """None if the process is gone."""
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None and sink is not None
        with contextlib.suppress(OSError):
            print(call, file=sink, flush=True)
        for line in source:
            if not line.endswith("\n"):  # it was killed in the middle of it
                break
            message = json.loads(line)
            if "step" not in message:
                return message
            show(message)
        return None


def _end(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()
    process.wait()


def _fate(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"was killed by {name}" + ", as it is where memory runs out" * (name == "SIGKILL")


class Bar:
    """A run's progress, where somebody looks at a terminal; tqdm itself gives each a line below that of the whole."""

    _bar: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, message: dict[str, Any]) -> None:
        step, total = message["step"], message["total"]
        if self._bar is None:
            self._bar = tqdm(total=total, initial=step, desc=message["title"], leave=False, disable=None, unit="step")
        self._bar.update(step - self._bar.n)


# --- in the process itself --------------------------------------------------------------------------------------------

_output: TextIO | None = None
_told = 0.0


def tell(step: int, total: int, title: str) -> None:
    """How far a run is, at most once a second; to nobody where it does not run apart."""
    global _told
    if _output is not None and (time.monotonic() > _told + 1 or step == total):
        _told = time.monotonic()
        _say({"step": step, "total": total, "title": title})


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message, default=lambda x: x.item()), file=_output, flush=True)


def serve() -> None:
    """Answer calls until the input ends."""
    global _output
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command that Ctrl-C ends takes this process with it
    _output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # packages may greet on import
    calls: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(calls,), daemon=True).start()
    from emdref.kernels.compile import threads

    with threads.at_most(1):
        while True:
            _say(_answered(calls.get()))


def _listen(calls: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        calls.put(line)
    os._exit(0)  # in the middle of a run, whose checkpoint stays


def _answered(call: str) -> dict[str, Any]:
    try:
        wanted = json.loads(call)
        module, name = wanted["function"].split(":")
        return {"result": getattr(import_module(module), name)(**wanted["parameters"])}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}


if __name__ == "__main__":
    from analysis.experiments.training import processes  # what the functions called import, not this second one

    processes.serve()
