"""What `import emdref` and calls with NumPy's arrays do not import, and that all public names are there."""

import subprocess
import sys
import types
from pathlib import Path

import pytest
import scipy

import emdref

FOR_FIGURES = {"pandas", "matplotlib", "jinja2", "tqdm"}
FOR_GPUS = {"numba.cuda", "numba_cuda", "emdref.gpu.call", "cupy"}
WAITS = {
    "emdref.proof", "emdref.entropic", "emdref.kernels.rows.loops", "emdref.kernels.tiles.circle",
    "emdref.closed_form.flows",
}  # fmt: skip
OTHERS = {"torch", "jax", "array_api_compat", "wfdb", "pyedflib", "networkx", "hypothesis", "pytest"}
CALLS = """\
import sys, scipy.linalg
before = set(sys.modules)
import emdref
emdref.emd([1.0, 0], [0, 1.0], emdref.Chain(2))
emdref.emd_grad([1.0, 0], [0.5, 0.5], emdref.Chain(2), device="cpu")
print(*before, "", *set(sys.modules) - before, sep="\\n")
"""


def test_neither_import_nor_call_imports_what_it_does_not_need():
    where = Path(emdref.__file__).parents[1]
    told = subprocess.run([sys.executable, "-c", CALLS], cwd=where, capture_output=True, text=True, check=True).stdout
    before, after = (set(part.split()) for part in told.split("\n\n"))
    assert "emdref" in after
    everywhere = {".".join(name.split(".")[: i + 1]) for name in before | after for i in range(name.count(".") + 1)}
    assert not everywhere & (FOR_FIGURES | FOR_GPUS | OTHERS | WAITS)
    assert "scipy.sparse" not in after, scipy.__version__  # Numba imports scipy.linalg, and some SciPys that with it


def test_every_public_name_is_listed_and_comes_from_its_module():
    assert set(emdref.__all__) <= set(dir(emdref))
    for name in emdref.__all__:
        public = getattr(emdref, name)
        home = public.__name__ if isinstance(public, types.ModuleType) else public.__module__
        assert home.startswith("emdref.") and getattr(public, "__name__", name).endswith(name)
    assert set(emdref._HOMES) < set(emdref.__all__)


def test_what_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'emdref' has no attribute 'emb'"):
        emdref.emb  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'emb' from 'emdref'"):
        from emdref import emb  # noqa: F401
