"""What `import emdref` and calls with NumPy's arrays do not import."""

import subprocess
import sys
from pathlib import Path

import scipy

import emdref

FOR_FIGURES = {"pandas", "matplotlib", "jinja2", "tqdm"}
FOR_GPUS = {"numba.cuda", "numba_cuda", "emdref.gpu.call", "cupy"}
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
    assert not everywhere & (FOR_FIGURES | FOR_GPUS | OTHERS)
    assert "scipy.sparse" not in after, scipy.__version__  # Numba imports scipy.linalg, and some SciPys that with it
