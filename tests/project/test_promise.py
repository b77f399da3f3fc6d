"""docs/lookup/promise.md: each line names tests that are there; and those that look at no other part of the project."""

import ast
import base64
import hashlib
import inspect
import json
import multiprocessing
import os
import pickle
import pickletools
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import emdref
from analysis.engine.cells import Cell
from analysis.engine.store import Store
from emdref.kernels.compile import threads

ROOT = Path(emdref.__file__).parents[1]
PAGE = (ROOT / "docs" / "lookup" / "promise.md").read_text("utf-8")


HEADS = ("what", "with", "deprecated")


def rows(page, width):
    """The cells of each line of the tables so wide, but for what stands above."""
    lines = re.findall(r"^\|(.*)\|$", page, re.MULTILINE)
    cells = [[x.strip() for x in re.split(r"(?<!\\)\|", line)] for line in lines]
    return [x for x in cells if len(x) == width and not x[1].startswith("---") and x[0] not in HEADS]


PROMISES = rows(PAGE, 3)


@pytest.mark.parametrize(("what", "promise", "tests"), PROMISES, ids=[x[0] for x in PROMISES])
def test_what_is_promised_is_tested(what, promise, tests):
    """... by tests whose names stand beside it."""
    names = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
    assert names and re.sub(r"`[^`]+`|[, ]", "", tests) == ""
    for file, name in names:
        tree = ast.parse((ROOT / file).read_text("utf-8"))
        assert name in {x.name for x in tree.body if isinstance(x, ast.FunctionDef)}, f"{what}: {file}::{name}"


# --- names ------------------------------------------------------------------------------------------------------------

ACCURATE = "mass='raise', accuracy='compensated', device=None"
EXACT = "mass='ignore', normalize=None"
SINKHORN = (
    "max_iter=100, tol=0.0, variant='paper', kernel='auto', domain='linear', init=None, checkpoints=None, "
    "unrolled=False, dtype=None, device=None"
)
SIGNATURES = {  # of 0.2.0; what a later release adds is added here
    "emd": f"p, q, space, rho=1, *, {ACCURATE}, out=None",
    "emd_grad": f"p, q, space, rho=1, *, gauge='zero_sum', {ACCURATE}, out=None",
    "emd_value_and_grad": f"p, q, space, rho=1, *, gauge='zero_sum', {ACCURATE}, out=None",
    "emd_hess": f"p, q, space, rho=2, *, gauge='zero_sum', {ACCURATE}",
    "emd_hvp": f"p, q, space, v, rho=2, *, gauge='zero_sum', {ACCURATE}",
    "flow": f"p, q, space, rho=1, *, {ACCURATE}",
    "pairwise": "X, space, *refused, Y=None, rho=1, mass='raise', accuracy='compensated', progress=False",
    "plan": "p, q, space, *, mass='raise'",
    "unifrac": "table, tree, *, normalized=False, rho=1, accuracy='compensated', progress=False",
    "emd_cost_grad": f"p, q, space, rho=1, *, {ACCURATE}",
    "barycenter": "P, space, rho=1, *, weights=None, mass='raise'",
    "certify_barycenter": "b, P, space, *, weights=None, mass='raise'",
    "sinkhorn": f"p, q, space_or_cost, lam, *, {SINKHORN}",
    "certify": "p, q, space, *, mass='raise'",
    "certify_sinkhorn": "p, q, space, lam, *, max_iter=20000, init=None",
    "check": "function, space, *, rho=1, gauge=None, dtype=np.float64, cases=None, tol=None, framework=None",
    "check_sinkhorn": (
        "function, space_or_cost, lam, max_iter, *, variant=None, dtype=np.float64, cases=None, tol=None, "
        "framework=None"
    ),
    "wordnet_tree": "cost='hops'",
    "exact.emd": f"p, q, space, rho=1, *, {EXACT}",
    "exact.flow": f"p, q, space, rho=1, *, {EXACT}",
    "exact.grad": f"p, q, space, rho=1, *, gauge='zero_sum', {EXACT}",
    "exact.hess": f"p, q, space, rho=2, *, gauge='zero_sum', {EXACT}",
    "exact.cost_grad": "p, q, space, rho=1, *, mass='ignore'",
    "exact.barycenter": "P, space, rho=1, *, weights=None, mass='raise'",
    "exact.hvp": f"p, q, space, v, rho=2, *, gauge='zero_sum', {EXACT}",
    "losses.mse": "p, q",
    "losses.kl": "p, q, *, mass='raise'",
    "losses.cross_entropy": "p, q, *, mass='raise'",
    "losses.emd_mse": f"p, q, space, rho=1, *, w_emd=0.9, w_mse=0.1, gauge='zero_sum', {ACCURATE}",
    "normalize.l1": "x",
    "normalize.l1.vjp": "x, g",
    "casebook.pair": "family, n, dtype=np.float64, seed=0",
    "fallback.counting": "",
    "Chain.__init__": "self, n=None, *, gaps=None, positions=None",
    "Circle.__init__": "self, n=None, *, gaps=None, positions=None, period=None",
    "Tree.__init__": "self, parent, cost=None, bins=None, labels=None",
    "Tree.from_newick": "source, *, bins=None, index=None, negative='raise'",
    "Tree.from_file": "path, *, bins=None, index=None, negative='raise'",
    "Tree.from_edges": "edges, bins=None",
    "Tree.from_networkx": "graph, root, weight='cost', bins=None",
    "Tree.from_linkage": "Z, labels=None",
    "Tree.from_points": "X, method='average', labels=None",
    "Tree.from_skbio": "node, *, bins=None, negative='raise'",
    "Tree.to_newick": "self",
    "Tree.to_networkx": "self",
    "Tree.align": "self, names",
    "Tree.restrict": "self, names",
    "Chain.to_tree": "self",
    "Tree.distance_matrix": "self, dtype=np.float64",
    "Certificate.verify": "self",
    "SinkhornCertificate.verify": "self",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_names_and_arguments_stay(name):
    found = emdref
    for part in name.split("."):
        found = getattr(found, part)
    promised = inspect.signature(eval(f"lambda {SIGNATURES[name]}: 0")).parameters
    now = inspect.signature(found).parameters
    for place, (argument, was) in enumerate(promised.items()):
        assert (now[argument].kind, now[argument].default) == (was.kind, was.default), argument
        if was.kind is was.POSITIONAL_OR_KEYWORD:
            assert list(now).index(argument) == place
    added = [x for x in now if x not in promised]
    assert all(now[x].default is not inspect.Parameter.empty for x in added), added


@pytest.mark.parametrize("module", [emdref, emdref.exact], ids=["emdref", "exact"])
def test_every_public_function_is_promised(module):
    prefix = module.__name__.partition(".")[2]
    named = {name.rpartition(".")[2] for name in SIGNATURES if name.rpartition(".")[0] == prefix}
    assert named == {name for name in module.__all__ if inspect.isfunction(getattr(module, name))}


DEPRECATED = rows(PAGE, 4)


@pytest.mark.parametrize(("code", "instead", "since", "gone"), DEPRECATED)
def test_what_is_deprecated_works_and_says_what_to_say_instead(code, instead, since, gone):
    with pytest.warns(DeprecationWarning, match=re.escape(instead.strip("`"))):
        eval(code.split("`")[1])
    since, gone = (tuple(map(int, x.split("."))) for x in (since, gone))
    assert gone >= (since[0], since[1] + 2, 0) or gone[0] > since[0]


def test_whatever_is_deprecated_is_in_the_table():
    calls = [
        path
        for path in (ROOT / "emdref").rglob("*.py")
        for _ in re.findall(r"\bDeprecationWarning,", path.read_text("utf-8"))
    ]
    assert len(calls) == len(DEPRECATED), calls


# --- what is kept in files --------------------------------------------------------------------------------------------

PICKLED = {  # by 0.2.0
    "emdref.Chain(3)": """
        gASVUQAAAAAAAACMCWZ1bmN0b29sc5SMB3BhcnRpYWyUk5SME2VtZHJlZi5zcGFjZXMuY2hhaW6UjAVDaGFpbpSTlIWUUpQoaAUpfZSMAW6U
        SwNzTnSUYilSlC4=""",
    "emdref.Chain(gaps=[1, 0.5])": """
        gASV6gAAAAAAAACMCWZ1bmN0b29sc5SMB3BhcnRpYWyUk5SME2VtZHJlZi5zcGFjZXMuY2hhaW6UjAVDaGFpbpSTlIWUUpQoaAUpfZSMBGdh
        cHOUjBZudW1weS5fY29yZS5tdWx0aWFycmF5lIwMX3JlY29uc3RydWN0lJOUjAVudW1weZSMB25kYXJyYXmUk5RLAIWUQwFilIeUUpQoSwFL
        AoWUaA2MBWR0eXBllJOUjAJmOJSJiIeUUpQoSwOMATyUTk5OSv////9K/////0sAdJRiiUMQAAAAAAAA8D8AAAAAAADgP5R0lGJzTnSUYilS
        lC4=""",
    "emdref.Circle(positions=[0, 1, 3], period=5)": """
        gASVDAEAAAAAAACMCWZ1bmN0b29sc5SMB3BhcnRpYWyUk5SMFGVtZHJlZi5zcGFjZXMuY2lyY2xllIwGQ2lyY2xllJOUhZRSlChoBSl9lCiM
        CXBvc2l0aW9uc5SMFm51bXB5Ll9jb3JlLm11bHRpYXJyYXmUjAxfcmVjb25zdHJ1Y3SUk5SMBW51bXB5lIwHbmRhcnJheZSTlEsAhZRDAWKU
        h5RSlChLAUsDhZRoDYwFZHR5cGWUk5SMAmY4lImIh5RSlChLA4wBPJROTk5K/////0r/////SwB0lGKJQxgAAAAAAAAAAAAAAAAAAPA/AAAA
        AAAACECUdJRijAZwZXJpb2SUR0AUAAAAAAAAdU50lGIpUpQu""",
    "emdref.Tree([-1, 0, 0], [0, 1, 0.5], labels=['r', 'a', 'b'])": """
        gASVWgEAAAAAAACMEmVtZHJlZi5zcGFjZXMudHJlZZSMBFRyZWWUk5QojBZudW1weS5fY29yZS5tdWx0aWFycmF5lIwMX3JlY29uc3RydWN0
        lJOUjAVudW1weZSMB25kYXJyYXmUk5RLAIWUQwFilIeUUpQoSwFLA4WUaAaMBWR0eXBllJOUjAJpOJSJiIeUUpQoSwOMATyUTk5OSv////9K
        /////0sAdJRiiUMY//////////8AAAAAAAAAAAAAAAAAAAAAlHSUYmgFaAhLAIWUaAqHlFKUKEsBSwOFlGgPjAJmOJSJiIeUUpQoSwNoE05O
        Tkr/////Sv////9LAHSUYolDGAAAAAAAAAAAAAAAAAAA8D8AAAAAAADgP5R0lGJoBWgISwCFlGgKh5RSlChLAUsChZRoEolDEAEAAAAAAAAA
        AgAAAAAAAACUdJRiXZQojAFylIwBYZSMAWKUZXSUUpQu""",
}


@pytest.mark.parametrize("code", PICKLED)
def test_pickles_of_spaces_are_loaded(code):
    made, space = pickle.loads(base64.b64decode(PICKLED[code])), eval(code)
    assert type(made) is type(space) and made.digest == space.digest
    np.testing.assert_array_equal(made.bin_labels, space.bin_labels)
    np.testing.assert_array_equal(made.distance_matrix(), space.distance_matrix())


@pytest.mark.parametrize("code", PICKLED)
def test_pickles_name_the_class_alone(code):
    space = eval(code)
    named = {x for _, x, _ in pickletools.genops(pickle.dumps(space, 2)) if str(x).startswith("emdref")}
    kind = type(space).__name__
    assert named == {f"emdref.spaces.{kind.lower()} {kind}"}


def test_a_store_of_the_first_layout_is_read(tmp_path):
    """As 0.2.0 writes it, made here without it."""
    cell, cells, path = Cell("analysis.figures.slides:spikes", {"lam": 0.1}), '[{"x": 1.5}]', tmp_path / "sweep.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "CREATE TABLE cells (key TEXT PRIMARY KEY, call TEXT NOT NULL, rows TEXT NOT NULL, digest TEXT NOT NULL, "
        "seconds REAL NOT NULL)"
    )
    connection.execute("PRAGMA application_id = 1701667954")
    connection.execute("PRAGMA user_version = 1")
    line = cell.key(), cell.text(), cells, hashlib.sha256(cells.encode()).hexdigest(), 0.5
    connection.execute("INSERT INTO cells VALUES (?, ?, ?, ?, ?)", line)
    connection.close()
    store = Store(path)
    assert store.get(cell) == cells
    store.close()


FIELDS = ["name", "why", "dtype", "space", "parent", "cost", "bins", "p", "q"]
ANSWERS = [
    "flow",
    "value",
    *(f"gradient_{gauge}_{rho}" for gauge in ("raw", "zero_sum", "scaled") for rho in (1, 2, 3)),
]
CASES = {  # of 0.2.0: how many, and the digest of what they say
    "easy": (42, "78b6104fc67b8b63"),
    "ordinary": (32, "e3492499912019ed"),
    "hard": (24, "8c4ccbec91768a76"),
    "hostile": (23, "bda74813d9ad7789"),
}


def told(cases):
    """The digest of what cases say, whatever was added to them."""
    kept = [[*(case[x] for x in FIELDS), *(case["answers"].get(x) for x in ANSWERS)] for case in cases]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]


@pytest.mark.parametrize("grade", CASES)
def test_reference_cases_stay(grade):
    count, digest = CASES[grade]
    cases = json.loads((ROOT / "docs" / "reference" / f"{grade}.json").read_text("utf-8"))
    assert told(cases[:count]) == digest


def test_no_data_file_is_unpickled():
    """Numba unpickles its cache, for which see the folder of another user; nobody else unpickles anything."""
    loads = re.compile(
        r"import pickle|pickle\.load|allow_pickle=True|read_pickle|joblib|marshal|shelve|weights_only=False"
    )
    files = [*(ROOT / "emdref").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]
    assert [x for x in files if loads.search(x.read_text("utf-8"))] == []


# --- threads and processes --------------------------------------------------------------------------------------------


def spaces():
    return (
        emdref.Chain(gaps=np.arange(1, 9) / 4),
        emdref.Tree([-1, 0, 0, 1, 1, 2, 2, 3, 3], np.arange(9) / 4),
        emdref.Circle(9),
    )


def results(where):
    """Digests of what some calls return."""
    found = []
    for space in where:
        p = np.arange(1.0, 1 + 40 * space.n_bins).reshape(40, -1) % 7 + 1
        call = {"mass": "normalize"}
        found += [*emdref.emd_value_and_grad(p, p[:, ::-1], space, 2, **call), emdref.flow(p, p[::-1], space, **call)]
        found += [emdref.pairwise(p, space, **call), space.distance_matrix()]
        if not space.has_cycles:  # where Sinkhorn is the matrix, and the BLAS's
            p /= p.sum(1, keepdims=True)
            found.append(emdref.sinkhorn(p, p[::-1], space, 2.0, max_iter=3).grad)
    return [hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest() for x in found]


def test_threads_get_the_same_bits(monkeypatch):
    """All at once, on spaces that nobody has used before."""
    expected, shared, found = results(spaces()), spaces(), {}
    monkeypatch.setattr(threads, "_SERIAL_WORK", 1)
    together = threading.Barrier(6)

    def work(name):
        together.wait()
        with threads.at_most(3):
            found[name] = results(shared)

    several = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert found == dict.fromkeys(range(6), expected)


def test_numbas_threads_are_not_used():
    parallel = re.compile(r"\bprange\b|parallel=True|target=.parallel")
    assert [x for x in (ROOT / "emdref").rglob("*.py") if parallel.search(x.read_text("utf-8"))] == []


CHILDREN = """
import multiprocessing, sys
from test_promise import results, spaces
from emdref.kernels.compile import threads


def answer(queue, where):
    threads._SERIAL_WORK = 1
    with threads.at_most(3):
        queue.put(results(where))


def waits():  # a call of a second, which others compute
    return threads.alone(results, spaces(), work=10**12)


if __name__ == "__main__":
    context, used = multiprocessing.get_context(sys.argv[1]), spaces()
    queue = context.Queue()
    answer(queue, used), waits()
    children = [context.Process(target=answer, args=(queue, used)) for _ in range(int(sys.argv[2]))]
    for child in children:
        child.start()
    answers = [queue.get(timeout=30) for _ in range(1 + len(children))]
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert answers == [answers[0]] * len(answers) and waits() == answers[0]
    print(answers[0])
"""


def children_answer(how, count, folder):
    """What a process that has used emdref and so many children of it find, if it is the same."""
    (folder / "children.py").write_text(CHILDREN)
    paths = os.pathsep.join(map(str, (ROOT, Path(__file__).parent)))
    return subprocess.run(
        [sys.executable, folder / "children.py", how, str(count)],
        env={**os.environ, "PYTHONPATH": paths, "NUMBA_DISABLE_JIT": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
def test_children_may_use_it_after_a_fork(tmp_path):
    run = children_answer("fork", 2, tmp_path)
    assert run.stdout == f"{results(spaces())}\n", run.stderr


@pytest.mark.slow(instead="test_children_may_use_it_after_a_fork")
@pytest.mark.parametrize("how", [x for x in ("spawn", "forkserver") if x in multiprocessing.get_all_start_methods()])
def test_children_may_be_spawned(how, tmp_path):
    run = children_answer(how, 2, tmp_path)
    assert run.stdout == f"{results(spaces())}\n", run.stderr
