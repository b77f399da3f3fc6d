"""Workers side by side for the whole suite, and no doctests in what cannot be imported here.

What is for GPUs, PyTorch or JAX cannot be imported without them: no doctests are looked for in it then.
"""

import importlib.util
import os
import subprocess
import sys

import pytest

_FOR_GPUS = [
    *("emdref/kernels/cuda/*", "emdref/gpu/*", "tests/gpu/kernel_table.py", "tests/gpu/launches.py"),
]
_NEEDED = {
    "numba.cuda": _FOR_GPUS,
    "torch": ["emdref/torch.py"],
    "jax": ["emdref/jax.py"],
    "cosmic_ray": ["tests/mutation/sample.py"],
}
collect_ignore_glob = [
    "docs/*.py",  # programs, not modules
    *(pattern for module, patterns in _NEEDED.items() if not importlib.util.find_spec(module) for pattern in patterns),
]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """For whole folders a worker per processor, at most four, unless the command line says how many."""
    options = config.option
    whole = not options.keyword and all(map(os.path.isdir, options.file_or_dir))
    if whole and getattr(options, "numprocesses", 0) is None and not hasattr(config, "workerinput"):
        options.numprocesses, options.maxprocesses, options.dist = "logical", 4, "worksteal"


WARMING = pytest.StashKey[subprocess.Popen]()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """What workers will call is compiled while they collect: each would compile it for itself."""
    config = session.config
    workers = getattr(config.option, "numprocesses", 0) and not config.option.collectonly
    if workers and os.environ.get("NUMBA_DISABLE_JIT", "0") == "0":
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            warm = [sys.executable, "-m", "emdref", "warm"]
            config.stash[WARMING] = subprocess.Popen(warm, cwd=config.rootpath)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node):
    """No test begins before."""
    if WARMING in node.config.stash:
        node.config.stash[WARMING].wait()
