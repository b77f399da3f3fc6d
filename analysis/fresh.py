"""Calls a function in a process of its own, whose memory and caches nothing else has touched.

``python -m analysis.fresh MODULE:FUNCTION JSON`` calls ``FUNCTION(**JSON)`` and prints its result as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from typing import Any


def call(function: str, **parameters: Any) -> Any:
    """The result of ``module:name`` in a new process, by way of JSON."""
    arguments = [sys.executable, "-m", __name__, function, json.dumps(parameters)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{function} failed in its own process: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    import resource  # not on Windows, where nothing but this measurement needs it

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    module, name = sys.argv[1].split(":")
    print(json.dumps(getattr(import_module(module), name)(**json.loads(sys.argv[2]))))
