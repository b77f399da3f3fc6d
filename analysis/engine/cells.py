"""Cells: the independent pieces of a sweep, described by data so that they can be stored, sent and taken up again."""

from __future__ import annotations

import hashlib
import json
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from analysis.catalogue import FOLDERS

Rows = list[dict[str, Any]]
ROOT = Path(__file__).parents[2]
PACKAGES = (  # another version, another result
    "numpy", "numba", "scipy", "pandas", "POT", "scikit-bio", "torch", "geomloss", "jax", "ott-jax", "threadpoolctl",
    "scikit-learn",
)  # fmt: skip
# modules that call, store, choose or draw numbers, and make none: figures may be polished without computing again
NUMBERLESS = (
    "__init__",
    "__main__",
    "catalogue",
    "engine/sweep_axes",
    "engine/provenance",
    "engine/claims",
    "engine/reproduction",
    "engine/script",
    "engine/store",
    "engine/run_cells",
    "engine/workers",
    "engine/style",
    "engine/machine",
    "sinkhorn/stability_tables",
    "timing/speed_history",
    "timing/speed_targets",
    "experiments/breathing/cohort_sheet",
    "experiments/breathing/claims",
    "experiments/breathing/panels",
    "experiments/breathing/plans",
    "experiments/breathing/report",
    "experiments/hierarchy/claims",
    "experiments/hierarchy/panels",
    "experiments/hierarchy/plan",
    "experiments/hierarchy/statistics",
    "engine/intervals",
)
# of the scripts a cell depends on its own alone; what makes committed files, or measures a GPU, makes no cells
APART = (*FOLDERS, "sources", "gpu")


@dataclass(frozen=True)
class Cell:
    """A call ``function(**parameters)`` that returns rows of a table; parameters are what JSON can hold."""

    function: str  # "module:name"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    weight: float = 0.1  # rough seconds, for the order of work and the progress bar
    alone: bool = False  # a timing: nothing else may run beside it

    def key(self) -> str:
        """What the cell is stored under: its function, its parameters and the version of the code."""
        return hashlib.sha256(f"{self.text()} {code(self.function)}".encode()).hexdigest()

    def text(self) -> str:
        """The call in one line."""
        return f"{self.function} {json.dumps(self.parameters, sort_keys=True)}"


def grid(**axes: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the axes' values, the last axis fastest.

    >>> list(grid(lam=[1.0, 2.0], cap=[10]))
    [{'lam': 1.0, 'cap': 10}, {'lam': 2.0, 'cap': 10}]
    """
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def compute(function: str, parameters: Mapping[str, Any], expected: str) -> str:
    """The cell's rows as JSON, by code of the version expected, on one thread.

    Floats keep every bit on their way through JSON, so that a row is the same whether it was just computed, was read
    from a store, or came from another process.
    """
    found = code(function)
    if found != expected:
        raise RuntimeError(
            f"this worker has version {found[:12]} of the code or of its packages, the sweep {expected[:12]}: "
            "give both the same clone and the same environment"
        )
    module, name = function.split(":")
    with _one_thread():
        # for good, since a filter that one thread takes back is missing in another
        warnings.filterwarnings("ignore", "[0-9]+ of [0-9]+ rows", RuntimeWarning)  # failures are studied: see status
        warnings.filterwarnings("ignore", "[0-9]+ entries of the", RuntimeWarning)  # so is what leaves the range
        return json.dumps(getattr(import_module(module), name)(**parameters), default=lambda x: x.item())


def _one_thread() -> Any:
    from emdref.kernels.compile import threads  # Numba: not for those who only name cells

    return threads.at_most(1)


@lru_cache
def code(function: str) -> str:
    """Digest of everything that a cell's numbers may depend on besides its parameters.

    These are the sources and tables of emdref, those here that scripts share, the function's own module, and the
    versions of Python and the packages.
    """
    digest = hashlib.sha256(json.dumps([platform.python_version(), platform.machine(), _versions()]).encode())
    own = ROOT / (function.split(":")[0].replace(".", "/") + ".py")
    for path in sorted({own, *_shared_files()}):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@lru_cache
def _shared_files() -> list[Path]:
    every = {path for folder in ("emdref", "analysis") for path in ROOT.glob(f"{folder}/**/*") if path.is_file()}
    apart = {path for folder in APART for path in ROOT.glob(f"analysis/{folder}/*")}
    apart |= {ROOT / "analysis" / f"{name}.py" for name in NUMBERLESS}
    return [path for path in every - apart if path.suffix != ".pyc"]


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} absent")
    return found
