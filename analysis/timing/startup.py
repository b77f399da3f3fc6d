"""How long a program waits for emdref: whole processes, from the interpreter's start to its end, in turn.

What emdref adds is told by differences of programs within a turn: its import over that of NumPy and Numba, its first
call, machine code read from the disk, over the first call of a bare cached kernel, and both together over the latter.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from analysis.engine.cells import ROOT, Rows
from analysis.timing.measuring import race, spent, spread

FUNCTION = f"{__name__}:compute"
IMPORT, WARM, BOTH, COLD = (
    "import over NumPy and Numba's",
    "first call, cached, over a bare kernel's",
    "import and first call, cached, over a bare kernel's",
    "import and first call",
)
BARE = """\
import numpy, numba
@numba.njit(cache=True)
def total(x):
    s = 0.0
    for i in range(len(x)):
        s += x[i]
    return s
total(numpy.ones(3))
"""
CALL = """\
import emdref
emdref.emd_value_and_grad([0.5, 0.5, 0], [0, 0.5, 0.5], emdref.Tree([-1, 0, 0, 1, 1]), rho=2)
"""
PROGRAMS = {
    "import numpy, numba": "import numpy, numba\n",
    "import emdref": "import emdref\n",
    "bare njit kernel, cached": BARE,
    "emdref call, cached": CALL,
}


def compute(repeats: int, cold: int) -> Rows:
    """Rows of the programs and their differences; each program in `repeats` turns, and `cold` calls without a cache.

    With cold = 0, of the imports alone.
    """
    programs = PROGRAMS if cold else dict(list(PROGRAMS.items())[:2])
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"program{i}.py") for i, name in enumerate(programs)}
        for name, source in programs.items():
            files[name].write_text(source)
        *_, call = files.values()
        empty = [spent(lambda i=i: _run(call, Path(folder, f"cold{i}"))) for i in range(cold)]
        caches = Path(folder, "cold0")
        for path in files.values():
            _run(path, caches)
        watches = {name: lambda path=path: spent(lambda: _run(path, caches)) for name, path in files.items()}
        times = race(watches, 0.0, (repeats, repeats))
    return _rows(times, empty)


def _run(program: Path, caches: Path) -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    told = {"EMDREF_CACHE_DIR": caches / "emdref", "NUMBA_CACHE_DIR": caches / "numba", "PYTHONPATH": path}
    environment = os.environ | {name: str(value) for name, value in told.items()}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # byte code is kept, as for users
    subprocess.run([sys.executable, str(program)], env=environment, check=True, stdout=subprocess.DEVNULL)


def _rows(times: dict[str, Any], empty: list[float]) -> Rows:
    base, imported, *calls = times.values()
    found = times | {IMPORT: imported - base}
    if calls:
        bare, called = calls
        found |= {WARM: (called - imported) - (bare - base), BOTH: called - bare, COLD: np.array(empty)}
    return [
        {"part": "start-up", "task": name, "implementation": "emdref" if name in (IMPORT, WARM, BOTH, COLD) else name}
        | dict(zip(("seconds", "low", "high"), spread(samples), strict=True))
        | {"repeats": len(samples)}
        for name, samples in found.items()
    ]
