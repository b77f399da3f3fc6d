"""Calls a function in a process of its own, whose memory and caches nothing else has touched.

``python -m analysis.fresh MODULE:FUNCTION JSON`` calls ``FUNCTION(**JSON)`` and prints its result as JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def call(function: str, **parameters: Any) -> Any:
    """The result of ``module:name`` in a new process, by way of JSON."""
    arguments = [sys.executable, "-m", __name__, function, json.dumps(parameters)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{function} failed in its own process: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])  # packages may greet on import


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


if __name__ == "__main__":
    module, name = sys.argv[1].split(":")
    print(json.dumps(getattr(import_module(module), name)(**json.loads(sys.argv[2]))))
