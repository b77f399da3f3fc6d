"""Ctrl-C is answered within a second in every long call, nothing is broken by it, and nobody waits for what is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import cases
import emdref
from emdref.kernels.compile import threads

ROOT = Path(emdref.__file__).parents[1]
CHILD = """
import sys, threading, time, warnings
import numpy as np, scipy.sparse as sp
import emdref

warnings.simplefilter("ignore")
rng, tree = np.random.default_rng(0), emdref.wordnet_tree()


def rows(n, bins=1000):  # many, in little memory
    x = np.ones(n + bins)
    x[: n + bins : 7] = 2
    return np.lib.stride_tricks.as_strided(x, (n, bins), (8, 8))


def pair(space):
    x = rng.random(space.n_bins)
    return x, x[::-1]


def sparse(n):
    return sp.csr_array((np.ones(30 * n), (np.repeat(np.arange(n), 30), np.tile(np.arange(0, 900, 30), n))), (n, 1000))


def elsewhere(call):
    # the main thread waits, as it does for a pool of threads
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)


def slow(p, q):
    time.sleep(0.02)
    return np.abs(np.cumsum(p - q)).sum()


def sinkhorn(n, k, **options):
    return emdref.sinkhorn(rows(n), rows(n)[:, ::-1], tree, 3.0, max_iter=k, **options)


Chain = emdref.Chain
ignore, normalize = dict(mass="ignore"), dict(mass="normalize")
JOBS = {  # each takes seconds if k is large
    "pairwise": lambda k: emdref.pairwise(rows(3 * k), tree, rho=4, mass="ignore"),
    "pairwise, with a bar": lambda k: emdref.pairwise(rows(3 * k), tree, rho=4, mass="ignore", progress=True),
    "pairwise, normalize": lambda k: emdref.pairwise(rows(3 * k), tree, rho=4, **normalize),
    "pairwise, sparse": lambda k: emdref.pairwise(sparse(4 * k), Chain(1000)),
    "emd": lambda k: emdref.emd(rows(100 * k), rows(1), tree, 2.5, **ignore),
    "emd, elsewhere": lambda k: elsewhere(lambda: emdref.emd(rows(100 * k), rows(1), tree, 2.5, **ignore)),
    "emd_value_and_grad": lambda k: emdref.emd_value_and_grad(rows(50 * k), rows(1), tree, 2.5, **ignore),
    "emd_hvp": lambda k: emdref.emd_hvp(rows(50 * k), rows(1), tree, rows(1), 2.5, **ignore),
    "emd_hess": lambda k: emdref.emd_hess(*pair(Chain(10 * k)), Chain(10 * k), 3, **ignore),
    "flow": lambda k: emdref.flow(*pair(Chain(20_000 * k)), Chain(20_000 * k), **normalize),
    "losses.kl": lambda k: emdref.losses.kl(rows(30 * k), rows(30 * k), mass="normalize"),
    "normalize.vjp": lambda k: emdref.normalize.softmax.vjp(rows(30 * k), rows(30 * k)),
    "plan": lambda k: emdref.plan(*pair(Chain(5000 * k)), Chain(5000 * k), **normalize),
    "distance_matrix": lambda k: Chain(12 * k).distance_matrix(),
    "certify": lambda k: emdref.certify(*pair(Chain(500 * k)), Chain(500 * k), **ignore),
    "exact.grad": lambda k: emdref.exact.grad(*pair(Chain(1000 * k)), Chain(1000 * k)),
    "check": lambda k: emdref.check(slow, Chain(k), cases="easy" if k < 100 else None),
    "sinkhorn": lambda k: sinkhorn(200, k**2),
    "sinkhorn, one pair in logarithms": lambda k: sinkhorn(1, k**2, domain="log"),
    "sinkhorn, overrelaxed": lambda k: sinkhorn(64, k**2, variant="overrelaxed"),
    "sinkhorn, unrolled": lambda k: sinkhorn(64, k, unrolled=True, domain="log"),
    "sinkhorn, dense": lambda k: sinkhorn(64, k**2, kernel="dense"),
    "sinkhorn, a long chain": lambda k: emdref.sinkhorn(*pair(Chain(2000 * k)), Chain(2000 * k), 1.0),
    "certify_sinkhorn": lambda k: emdref.certify_sinkhorn(*pair(Chain(10 * k)), Chain(10 * k), 100.0),
}


def probe():
    p, q = np.eye(3)[:2]
    return emdref.emd(p, q, Chain(3)), emdref.pairwise(np.eye(3), Chain(3)).sum(), emdref.plan(p, q, Chain(3)).sum()


right = probe()
for name in sys.argv[1:]:
    JOBS[name](3)
    try:
        print("begins", flush=True)
        JOBS[name](1000)
        print("finished before it was interrupted", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    assert probe() == right
"""


ABANDONED = """
import emdref
emdref.Chain(3).distance_matrix()
print("begins", flush=True)
emdref.Chain(20_000).distance_matrix()
"""
FORK = """
import os
from emdref.kernels.compile import threads
assert threads.alone(lambda: 41, work=10**12) == 41
pid = os.fork()
if not pid:
    os._exit(threads.alone(lambda: 42, work=10**12))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
"""


def child(code, *words, **environment):
    """A process that runs the code with the kernels of this one."""
    command = [sys.executable, "-c", cases.HEED_CTRL_C + code, *words]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "0", **environment}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipe)


def answered(process):
    """Seconds from Ctrl-C, a moment after a job began, to its end."""
    assert process.stdout.readline() == "begins\n", process.communicate()[1]
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    start = time.perf_counter()
    assert process.stdout.readline() == "interrupted\n"
    return time.perf_counter() - start


def histograms(n):
    return np.random.default_rng(n).dirichlet(np.ones(5), (2, n))


def jobs():
    return [line.split('"')[1] for line in CHILD.splitlines() if line.startswith('    "')]


pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to the whole console")


SOME = ["pairwise", "emd_value_and_grad", "plan", "sinkhorn", "sinkhorn, one pair in logarithms"]  # each way to wait


@pytest.mark.parametrize(
    ("count", "names"),
    [("2", SOME), *(pytest.param(*x, marks=pytest.mark.slow) for x in (("1", SOME), ("2", jobs())))],
    ids=["two threads", "one thread", "every job"],
)
def test_ctrl_c_is_answered_within_a_second(count, names):
    for _ in "twice":  # if the machine was busy with something else, once more
        with child(CHILD, *names, EMDREF_NUM_THREADS=count) as process:
            late = {name: seconds for name in names if (seconds := answered(process)) > 1.0}
            assert process.wait(10) == 0, process.stderr.read()
        names = list(late)
        if not late:
            return
    assert not late


def test_nobody_waits_for_what_goes_on_after_an_interrupt():
    """A kernel that takes seconds more, which an exit handler of Python's own pools would wait for."""
    for _ in "twice":
        with child(ABANDONED) as process:
            assert process.stdout.readline() == "begins\n", process.communicate()[1]
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            start = time.perf_counter()
            _, error = process.communicate()
        if time.perf_counter() - start < 1.5:
            break
    else:
        pytest.fail("it took longer, twice")
    assert error.endswith("KeyboardInterrupt\n") and process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


def test_an_interrupted_call_writes_nothing_into_out(monkeypatch):
    """Nor does it later: kernels that may go on have an array of their own."""

    def interrupted(futures):
        raise KeyboardInterrupt

    monkeypatch.setattr(threads, "_PATIENCE", -1)
    monkeypatch.setattr(threads, "_SERIAL_WORK", 1)  # no call is small
    monkeypatch.setattr(threads, "_wait", interrupted)
    out = np.full((3, 5), 7.0)
    with pytest.raises(KeyboardInterrupt):
        emdref.emd_grad(*histograms(3), emdref.Chain(5), out=out)
    time.sleep(0.2)
    assert (out == 7.0).all()


@pytest.mark.parametrize("accuracy", ["compensated", "native"])
@pytest.mark.parametrize("count", [1, 2])
def test_what_others_compute_is_the_same(count, accuracy, monkeypatch):
    p, q = histograms(100)
    space, out = emdref.Chain(5), (np.empty(100), np.empty((100, 5)))
    expected = emdref.emd_value_and_grad(p, q, space, accuracy=accuracy)
    monkeypatch.setattr(threads, "_PATIENCE", -1)
    monkeypatch.setattr(threads, "_SERIAL_WORK", 1)
    with threads.at_most(count):
        found = emdref.emd_value_and_grad(p, q, space, accuracy=accuracy, out=out)
    for x, y, z in zip(expected, found, out, strict=True):
        assert y is z
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("patience", [-1, 10**9], ids=["others'", "the caller's too"])
def test_an_error_comes_when_nobody_computes_any_more(patience, monkeypatch):
    monkeypatch.setattr(threads, "_PATIENCE", patience)
    monkeypatch.setattr(threads, "_BLOCK", 1)
    done = []

    def kernel(rows):
        time.sleep(0.05)
        done.append(rows[0])
        if rows[0] == 0:
            raise MemoryError("no scratch memory")

    with threads.at_most(4), pytest.raises(MemoryError, match="no scratch"):
        threads.over_rows(kernel, (np.arange(400),), work=10**6)
    count = len(done)
    time.sleep(0.2)
    assert len(done) == count < 400


def test_blocks_get_shorter_if_they_take_long():
    sizes = []

    def kernel(rows):
        sizes.append(len(rows))
        time.sleep(1e-3 * len(rows))

    with threads.at_most(1):
        threads.over_rows(kernel, (np.arange(1000),), work=250_000)  # a quarter of what it takes
    assert sizes[0] == 100 and max(sizes[1:]) < 40 and sum(sizes) == 1000


def test_errors_and_numpys_settings_reach_those_who_compute():
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        threads.alone(np.exp, np.array([1e4]), work=10**12)
    assert threads.alone(np.exp, np.zeros(1), work=10**12) == 1


def test_threads_are_used_again(monkeypatch):
    monkeypatch.setattr(threads, "_PATIENCE", -1)
    before = set(threading.enumerate())
    for _ in range(50):
        threads.alone(time.sleep, 0.001, work=1)
    assert len(set(threading.enumerate()) - before) <= 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_has_threads_of_its_own():
    with child(FORK) as process:
        assert process.wait(20) == 0, process.stderr.read()
