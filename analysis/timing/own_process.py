"""Calls a function in a process of its own, whose memory and caches nothing else has touched.

``python -m analysis.timing.own_process MODULE:FUNCTION JSON`` calls ``FUNCTION(**JSON)`` and prints its result as
JSON; with ``--rows`` before, the function gives rows, and each is printed at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

_ROW = "row: "  # before each row, since packages may print too


def call(function: str, environment: Mapping[str, str] | None = None, /, **parameters: Any) -> Any:
    """The result of ``module:name`` in a new process, by way of JSON; `environment` is added to this one's."""
    arguments = [sys.executable, "-m", __name__, function, json.dumps(parameters)]
    every = os.environ | dict(environment or {})
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=every)
    if done.returncode:
        raise RuntimeError(f"{function} failed in its own process: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])  # packages may greet on import


def command(function: str, **parameters: Any) -> list[str]:
    """What starts a process that prints the rows of ``module:name`` as they come."""
    return [sys.executable, "-m", __name__, "--rows", function, json.dumps(parameters)]


def row_of(line: str) -> dict[str, Any] | None:
    """The row that a line of such a process holds, if it holds one."""
    return json.loads(line.removeprefix(_ROW)) if line.startswith(_ROW) else None


def growth_bytes(run: Callable[[], Any]) -> int | None:
    """By how much the memory that this process holds grows at most while `run` runs; None where Linux is not there.

    What earlier calls have freed is given back first, so that it is not used again unseen.
    """
    try:
        with contextlib.suppress(AttributeError):  # a C library other than GNU's
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is the present size again
        before = _status_bytes("VmRSS")
        run()
        return _status_bytes("VmHWM") - before
    except OSError:
        return None


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field)))


def _main(arguments: list[str]) -> None:
    *rows, function, parameters = arguments
    module, name = function.split(":")
    found = getattr(import_module(module), name)(**json.loads(parameters))
    if not rows:
        print(json.dumps(found))
        return
    for row in found:
        print(_ROW + json.dumps(row, default=lambda x: x.item()), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
