"""docs/reference: what its generator makes, right by two independent computations, and met by emdref's floats."""

import copy
import functools
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import cases
import emdref
import oracles
from analysis.sources import reference

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
GRADES = ("easy", "ordinary", "hard", "hostile")
DATA = {grade: json.loads((FOLDER / f"{grade}.json").read_text("ascii")) for grade in GRADES}
CASES = {case["name"]: case for case in itertools.chain(*DATA.values())}
GRADIENTS = [(f"gradient_{gauge}_{rho}", gauge, rho) for gauge in cases.GAUGES for rho in (1, 2, 3)]
every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def floats(numbers):
    return [float.fromhex(x) for x in numbers]


def exactly(case, name):
    return [Fraction(x) for x in case["answers"][name]]


def inputs(case):
    """(p, q, space) for emdref."""
    p, q = (np.array(floats(case[key]), case["dtype"]) for key in ("p", "q"))
    return p, q, emdref.Tree(case["parent"], floats(case["cost"]), case["bins"])


def check(folder):
    command = [sys.executable, "-I", "-S", str(folder / "check.py")]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)


# --- the files --------------------------------------------------------------------------------------------------------


def test_the_folder_is_what_the_generator_makes(tmp_path, capsys):
    reference.main(["--out", str(tmp_path)])
    assert "cases" in capsys.readouterr().out
    made = sorted(file.name for file in tmp_path.iterdir())
    assert made == sorted(["SHA256SUMS", "sinkhorn.json", *(f"{grade}.json" for grade in GRADES)])
    assert [n for n in made if (tmp_path / n).read_bytes() != (FOLDER / n).read_bytes()] == []


def test_no_folder_is_said(tmp_path, capsys):
    with pytest.raises(SystemExit):
        reference.main(["--out", str(tmp_path / "none")])
    assert "none" in capsys.readouterr().err


def test_checksums_are_those_of_all_data_files():
    sums = dict(line.split("  ")[::-1] for line in (FOLDER / "SHA256SUMS").read_text("ascii").splitlines())
    data = {f"{name}.json" for name in (*GRADES, "sinkhorn")}
    schemas = {"schema.json", "schema_sinkhorn.json"}
    assert set(sums) == data == {file.name for file in FOLDER.glob("*.json")} - schemas
    assert sums == {name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in data}


def test_readme_counts_the_cases_of_each_grade():
    counts = re.findall(r"\| `(\w+).json` \| (\d+) \|", (FOLDER / "README.md").read_text("utf-8"))
    sinkhorn = json.loads((FOLDER / "sinkhorn.json").read_text("ascii"))["cases"]
    assert counts == [(grade, str(len(found))) for grade, found in (*DATA.items(), ("sinkhorn", sinkhorn))]


def conforms(value, schema, definitions):
    """The part of JSON Schema that schema.json uses."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if "enum" in schema:
        return value in schema["enum"]
    kind = {"array": list, "object": dict, "string": str, "integer": int}[schema["type"]]
    if type(value) is not kind:
        return False
    if kind is list:
        return all(conforms(x, schema["items"], definitions) for x in value)
    if kind is not dict:
        return value >= schema["minimum"] if kind is int else bool(re.search(schema.get("pattern", ""), value))
    known = dict(schema["properties"])
    patterns = schema.get("patternProperties", {}).items()
    known |= {key: part for key in value for pattern, part in patterns if re.search(pattern, key)}
    whole = set(schema["required"]) <= set(value) <= set(known) and len(value) >= schema.get("minProperties", 0)
    return whole and all(conforms(x, known[key], definitions) for key, x in value.items())


def test_the_schema_holds_and_is_no_empty_promise():
    schema = json.loads((FOLDER / "schema.json").read_text("ascii"))
    assert all(conforms(found, schema, schema["$defs"]) for found in DATA.values())
    for key, wrong in {"p": ["0.5"], "dtype": "float16", "bins": [-1], "extra": 1, "answers": {}}.items():
        assert not conforms([{**DATA["easy"][0], key: wrong}], schema, schema["$defs"])


def test_names_and_sizes():
    assert len(CASES) == sum(map(len, DATA.values()))
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 1.5e6
    assert {1, 2, 24} < {len(case["p"]) for case in CASES.values()} and max(len(c["p"]) for c in CASES.values()) <= 25


@every_case
def test_a_case_is_well_formed(case):
    assert case["why"].endswith(".") and case["why"].count(". ") <= case["why"].count("Fig. ")
    for key in ("p", "q", "cost"):
        values = floats(case[key])
        assert np.array(values, case["dtype"]).tolist() == values and min(values) >= 0
    n, root = len(case["p"]), case["parent"].index(-1)
    assert len(case["q"]) == len(case["bins"]) == len(set(case["bins"])) == n
    assert floats(case["cost"])[root] == 0 and case["answers"]["flow"][root] == "0"
    if case["space"] == "chain":
        assert (case["parent"], case["bins"]) == ([*range(1, n), -1], list(range(n)))
    sizes = {len(x) for name, x in case["answers"].items() if name.startswith("gradient")}
    assert sizes == {n} and len(case["answers"]["flow_normalized"]) == len(case["parent"])


def test_every_kind_of_tree_is_there():
    """Zero costs, inner bins, a bin on the root, unary nodes, roots that are not node 0, bare leaves."""
    trees = [case for case in CASES.values() if case["space"] == "tree"]
    seen = {
        "zero cost": lambda c: floats(c["cost"]).count(0) > 1,
        "inner bin": lambda c: set(c["bins"]) & set(c["parent"]),
        "bin on the root": lambda c: c["parent"].index(-1) in c["bins"],
        "unary node": lambda c: any(c["parent"].count(v) == 1 for v in range(len(c["parent"]))),
        "root elsewhere": lambda c: c["parent"][0] != -1,
        "bare leaf": lambda c: set(range(len(c["parent"]))) - set(c["parent"]) - set(c["bins"]),
    }
    assert [what for what, holds in seen.items() if not any(map(holds, trees))] == []


def test_the_papers_example_has_the_papers_gradients():
    answers = CASES["whole on middle, float64"]["answers"]
    assert exactly(CASES["whole on middle, float64"], "gradient_zero_sum_1") == [Fraction(x, 2) for x in (3, -1, -3, 1)]
    assert answers["gradient_zero_sum_2"] == ["5", "-1", "-7", "3"]
    assert answers["value"][0] == "9"


# --- the checker ------------------------------------------------------------------------------------------------------


def test_the_checker_needs_python_alone_and_agrees():
    done = check(FOLDER)
    numbers = sum(len(x) for case in CASES.values() for x in case["answers"].values())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(CASES)} cases, {numbers} numbers, all right\n"


def test_the_checker_is_short_and_plain():
    lines = (FOLDER / "check.py").read_text("ascii").splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 120
    imported = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"json", "fractions", "pathlib"}


@pytest.fixture
def folder(tmp_path):
    """The checker, and of each grade the last case alone, which is quick."""
    shutil.copy(FOLDER / "check.py", tmp_path)
    for grade, found in DATA.items():
        (tmp_path / f"{grade}.json").write_text(json.dumps(found[-1:]), "ascii")
    assert check(tmp_path).returncode == 0
    return tmp_path


def tampered(folder, grade, change):
    """What the checker says after `change` has had its way with a grade's case."""
    case, file = copy.deepcopy(DATA[grade][-1]), folder / f"{grade}.json"
    change(case)
    before = file.read_text("ascii")
    file.write_text(json.dumps([case]), "ascii")
    done = check(folder)
    file.write_text(before, "ascii")
    assert done.returncode == 1 and f"{grade}.json, case {case['name']}: " in done.stderr
    return done.stderr


def other(number):
    """A number nearby."""
    n, slash, d = number.partition("/")
    return f"{int(n) + 1}{slash}{d}"


@pytest.mark.parametrize("name", DATA["hostile"][-1]["answers"])
def test_the_checker_finds_each_kind_of_answer(folder, name):
    """The last number of each list."""
    last = len(DATA["hostile"][-1]["answers"][name]) - 1

    def change(case):
        case["answers"][name][last] = other(case["answers"][name][last])

    assert f": {name}[{last}] should be" in tampered(folder, "hostile", change)


@pytest.mark.parametrize("key", ["p", "q", "cost"])
def test_the_checker_finds_each_kind_of_input(folder, key):
    def change(case):
        case[key][-1] = (float.fromhex(case[key][-1]) + 1).hex()

    tampered(folder, "easy", change)


@pytest.mark.parametrize("key", ["bins", "parent"])
def test_the_checker_finds_a_change_of_shape(folder, key):
    def change(case):
        case[key][-1], case[key][-3] = case[key][-3], case[key][-1]

    tampered(folder, "easy", change)


@pytest.mark.parametrize("spoil", [lambda answers: answers.pop("flow"), lambda answers: answers["flow"].pop()])
def test_the_checker_finds_what_is_missing(folder, spoil):
    tampered(folder, "easy", lambda case: spoil(case["answers"]))


# --- the answers, by the oracle ---------------------------------------------------------------------------------------


@functools.cache
def truth(name, normalized):
    """(p, q, edges) as the oracle takes them."""
    case = CASES[name]
    p, q = (oracles.fractions(floats(case[key])) for key in ("p", "q"))
    pair = (oracles.normalized(p), oracles.normalized(q)) if normalized else (p, q)
    return *pair, oracles.tree_edges(case["parent"], floats(case["cost"]), case["bins"])


@every_case
def test_answers_are_the_oracles(case):
    for kind in ("", "_normalized"):
        p, q, edges = truth(case["name"], bool(kind))
        flow = oracles.flow(p, q, edges)
        assert exactly(case, "flow" + kind) == [flow.get(v, 0) for v in range(len(case["parent"]))]
        assert exactly(case, "value" + kind) == [oracles.emd(p, q, edges, rho) for rho in (1, 2, 3)]
    for name, gauge, rho in GRADIENTS:
        r = oracles.raw_grad(*truth(case["name"], gauge == "normalized"), rho)
        assert exactly(case, name) == oracles.gauged(r, truth(case["name"], False)[0], gauge)


# --- emdref's floats --------------------------------------------------------------------------------------------------


@pytest.fixture
def beyond_the_range():
    """Some answers are: then emdref warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* beyond the range", RuntimeWarning)
        yield


def assert_rounded(got, exact, bound=None):
    """Within 1 ulp, or within the bound; infinite where the answer is beyond the range."""
    dtype = got.dtype.type
    top = Fraction(float(np.finfo(dtype).max))
    for i, (x, y) in enumerate(zip(np.atleast_1d(got).tolist(), exact, strict=True)):
        if abs(y) > top:
            assert x == np.copysign(np.inf, oracles.sign(y)) or abs(x) == top, f"entry {i}: {x!r} is not infinite"
        elif bound is None:
            cases.assert_within_ulps(dtype(x), [y])
        else:
            cases.assert_within(dtype(x), [y], bound)


@every_case
@pytest.mark.usefixtures("beyond_the_range")
def test_values_and_flows_of_emdref(case):
    p, q, space = inputs(case)
    for kind, mass in (("", "ignore"), ("_normalized", "normalize")):
        flow, exact = emdref.flow(p, q, space, mass=mass), exactly(case, "flow" + kind)
        assert list(map(oracles.sign, flow.tolist())) == list(map(oracles.sign, exact))
        assert_rounded(flow, exact)
        for rho, y in zip((1, 2, 3), exactly(case, "value" + kind), strict=True):
            assert_rounded(emdref.emd(p, q, space, rho, mass=mass), [y])


@every_case
@pytest.mark.usefixtures("beyond_the_range")
def test_gradients_of_emdref(case):
    p, q, space = inputs(case)
    for name, gauge, rho in GRADIENTS:
        grad = emdref.emd_grad(p, q, space, rho, gauge=gauge, mass="ignore")
        r = oracles.raw_grad(*truth(case["name"], gauge == "normalized"), rho)
        scale = {"scaled": len(r), "normalized": 1 / sum(oracles.fractions(p))}.get(gauge, 1)
        assert_rounded(grad, exactly(case, name), 8 * cases.eps(p.dtype) * max(map(abs, r)) * scale)


# --- grades are earned ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", DATA["easy"], ids=lambda case: case["name"])
def test_plain_arithmetic_is_exact_on_easy_cases(case):
    p, q, space = inputs(case)
    value, grad = emdref.emd_value_and_grad(p, q, space, 2, gauge="raw", mass="ignore", accuracy="native")
    assert [Fraction(float(value))] == exactly(case, "value")[1:2]
    assert oracles.fractions(grad) == exactly(case, "gradient_raw_2")


def wrong_signs(case):
    """Of flows in plain arithmetic, difference first."""
    p, q, space = inputs(case)
    flow = emdref.flow(p, q, space, mass="ignore", accuracy="native")
    return sum(oracles.sign(x) != oracles.sign(y) for x, y in zip(flow.tolist(), exactly(case, "flow"), strict=True))


def test_plain_arithmetic_has_wrong_signs_on_hard_and_hostile_cases():
    lost = {grade: {c["name"].split(" on ")[0] for c in found if wrong_signs(c)} for grade, found in DATA.items()}
    assert not lost["easy"] and "blocks" in lost["hard"] and {"needles", "staircase", "spread"} <= lost["hostile"]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("staircase")])
def test_two_limbs_do_not_hold_the_staircase(name):
    with emdref.fallback.counting() as count:
        emdref.flow(*inputs(CASES[name]), mass="ignore")
    assert count.exact == 1
