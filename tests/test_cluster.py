"""The same sweep on a real Dask scheduler with two workers on loopback, one of them killed on the way."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra dask is not installed")

ROOT = Path(__file__).parent.parent
GRID = ["sweep", "--lam", "0.5,2,5,20", "--cap", "10,200", "--dtype", "float64,float32", "--pairs", "8"]
GRID += ["--kernel", "dense,space", "--domain", "linear"]


def analysis(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "analysis", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


@pytest.fixture
def cluster(tmp_path):
    """Address of a scheduler, and its two workers."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    started = [
        subprocess.Popen(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
            **quiet,
        )
    ]
    try:
        address = _address(file)
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)]
        started += [subprocess.Popen([*dask, "worker", address, *options], **quiet) for _ in range(2)]
        yield address, started[1:]
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def _address(file):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if file.exists() and file.stat().st_size:
            return json.loads(file.read_text())["address"]
        time.sleep(0.05)
    raise AssertionError("the scheduler did not start")


def test_a_worker_killed_on_the_way_loses_nothing_and_changes_nothing(cluster, tmp_path):
    from test_sweep import until_stored

    address, workers = cluster
    remote = analysis(*GRID, "--out", tmp_path / "remote", "--scheduler", address)
    until_stored(tmp_path / "remote" / "sweep.sqlite", 3, remote)
    workers[0].kill()
    assert remote.poll() is None
    output, error = remote.communicate(timeout=300)
    assert remote.returncode == 0, error
    assert f"of work on {address} with 2 worker threads" in error
    assert "16 cells, 0 of them" in error
    local = analysis(*GRID, "--out", tmp_path / "local")
    assert local.communicate()[0].splitlines()[1:] == output.splitlines()[1:]
    assert (tmp_path / "remote" / "sweep.csv").read_bytes() == (tmp_path / "local" / "sweep.csv").read_bytes()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense"])
def test_no_scheduler_there_is_said_and_nothing_is_computed(address, tmp_path):
    run = analysis(*GRID, "--out", tmp_path, "--scheduler", address)
    error = run.communicate(timeout=60)[1]
    assert run.returncode == 1
    assert f"--scheduler {address}: no Dask scheduler answers there" in error
    assert "Traceback" not in error
