"""The same sweep on a Dask scheduler in this process, and on one with two workers on loopback that are killed."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra dask is not installed")
from analysis import __main__ as command
from analysis.engine import workers

ROOT = Path(__file__).parents[2]
GRID = ["sweep", "--lam", "0.5,2,5,20", "--cap", "10,200", "--dtype", "float64,float32", "--pairs", "8"]
GRID += ["--kernel", "dense,space", "--domain", "linear"]
SMALL = ["sweep", "--chain", "30", "--lam", "0.3,3", "--cap", "3,9", "--dtype", "float64,float32", "--pairs", "2"]


def analysis(*arguments, stderr=subprocess.PIPE):
    return subprocess.Popen(
        [sys.executable, "-m", "analysis", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT,
    )  # fmt: skip


@pytest.fixture
def cluster(tmp_path):
    """Address of a scheduler, its process and its two workers, and how to start another."""
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

        def more():
            started.append(subprocess.Popen([*dask, "worker", address, *options], **quiet))

        more()
        more()
        yield address, started, more
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


@pytest.fixture
def waiting(tmp_path, cluster):
    """A sweep that has stored a cell, whose workers are dead, and that has said so; its words are in a file."""
    from test_sweep import until_stored

    address, (_, *workers), _ = cluster
    words = tmp_path / "words"
    with words.open("w") as file:
        process = analysis(*GRID, "--out", tmp_path / "out", "--scheduler", address, stderr=file)
    until_stored(tmp_path / "out" / "sweep.sqlite", 1, process)
    for worker in workers:
        worker.kill()
    end = time.monotonic() + 60
    while "waiting for a worker: start one with 'dask worker tcp://" not in words.read_text():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.1)
    return process, words


def _address(file):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if file.exists() and file.stat().st_size:
            return json.loads(file.read_text())["address"]
        time.sleep(0.05)
    raise AssertionError("the scheduler did not start")


def test_a_cluster_makes_the_table_of_one_process(tmp_path, capsys):
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        assert command.main([*SMALL, "--out", str(tmp_path / "remote"), "--scheduler", address]) == 0
    assert f"of work on {address} with 2 worker threads" in capsys.readouterr().err
    assert command.main([*SMALL, "--out", str(tmp_path / "local")]) == 0
    assert (tmp_path / "remote" / "sweep.csv").read_bytes() == (tmp_path / "local" / "sweep.csv").read_bytes()


@pytest.mark.slow(instead="test_a_cluster_makes_the_table_of_one_process")
def test_a_worker_killed_on_the_way_loses_nothing_and_changes_nothing(cluster, tmp_path):
    from test_sweep import until_stored

    address, (_, *workers), _ = cluster
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


@pytest.mark.slow(instead="test_a_cluster_makes_the_table_of_one_process")
def test_a_sweep_without_workers_says_so_and_goes_on_with_a_new_one(cluster, waiting, tmp_path):
    process, words = waiting
    cluster[2]()
    process.communicate(timeout=120)
    assert process.returncode == 0, words.read_text()
    assert words.read_text().count("waiting for a worker") == 1
    assert (tmp_path / "out" / "sweep.csv").exists()


@pytest.mark.slow(instead="test_a_cluster_makes_the_table_of_one_process")
def test_a_scheduler_that_dies_is_named_in_one_line(cluster, waiting):
    (address, (scheduler, *_), _), (process, words) = cluster, waiting
    scheduler.kill()
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"analysis: --scheduler {address}: the connection is lost; what is finished is stored" in words.read_text()
    assert "Traceback" not in words.read_text()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense"])
def test_no_scheduler_there_is_said_and_nothing_is_computed(address, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0.5)
    assert command.main([*GRID, "--out", str(tmp_path), "--scheduler", address]) == 1
    error = capsys.readouterr().err
    assert f"--scheduler {address}: no Dask scheduler answers there" in error
    assert "Traceback" not in error
