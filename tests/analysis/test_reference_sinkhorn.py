"""The Sinkhorn cases of docs/reference: right by two other programs, met by emdref, and a checker that sees changes."""

import copy
import json
import math
import shutil
import subprocess
import sys
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from test_reference import FOLDER, conforms, floats

import emdref
import sinkhorn_oracle

FILE = json.loads((FOLDER / "sinkhorn.json").read_text("ascii"))
CASES = {case["name"]: case for case in FILE["cases"]}
VARIANTS = ("paper", "frogner", "cuturi", "caffe", "mocha")
every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def inputs(case, dtype=np.float64):
    p, q = (np.array(floats(case[key]), dtype) for key in ("p", "q"))
    return p, q, np.array([floats(row) for row in case["cost"]], dtype), float.fromhex(case["lam"])


def answers(case, name):
    found = case["answers"][name]
    return float(found["cost"]), float(found["objective"]), np.array(found["gradient"], float)


def bound(case, dtype):
    """An error each half step of N products and an exponent of lam max(M), and twice one of the sums at the end."""
    *_, cost, lam = inputs(case)
    half_steps = 2 * case["max_iter"] + 3
    return float(np.finfo(dtype).eps) * half_steps * (len(cost) + 4 + lam * cost.max())


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_schema_holds_and_is_no_empty_promise():
    schema = json.loads((FOLDER / "schema_sinkhorn.json").read_text("ascii"))
    assert conforms(FILE, schema, schema["$defs"]) and len(CASES) == len(FILE["cases"]) >= 15
    case = FILE["cases"][0]
    for key, wrong in {"lam": "2.0", "max_iter": 0, "dtypes": ["float16"], "extra": 1, "answers": {}}.items():
        assert not conforms({**FILE, "cases": [{**case, key: wrong}]}, schema, schema["$defs"])
    assert not conforms({**FILE, "format": "emdref-sinkhorn-2"}, schema, schema["$defs"])
    odd = copy.deepcopy(FILE)
    odd["cases"][3]["answers"]["mocha"]["cost"] = "0.123"
    assert not conforms(odd, schema, schema["$defs"])


@every_case
def test_a_case_is_well_formed(case):
    p, q, cost, lam = inputs(case)
    assert p.sum() == q.sum() == 1 and (cost == cost.T).all() and not np.diag(cost).any() and lam > 0
    for dtype in ("float32", "float64"):
        held = all((x.astype(dtype) == x).all() for x in (p, q, cost, np.array(lam)))
        assert (dtype in case["dtypes"]) == held
    assert set(case["linear_fails"]) <= set(case["dtypes"]) and case["why"].endswith(".")
    assert case["answers"]["paper"]["gradient"].count("-inf") == (p == 0).sum()


# --- the answers ------------------------------------------------------------------------------------------------------


@every_case
def test_answers_are_the_oracles(case):
    """Another program, in extended precision where there is one, else in float64."""
    p, q, cost, lam = inputs(case)
    off = 4 * bound(case, np.float64)
    for name in VARIANTS:
        found = sinkhorn_oracle.sinkhorn(name, p, q, cost, lam, case["max_iter"])
        if not all(np.isfinite(x).all() for x in (found["cost"], found["log_v"][q > 0])):
            assert "float64" in case["linear_fails"]  # where long double is no longer than double
            continue
        value, objective, grad = answers(case, name)
        assert abs(found["cost"] - value) <= off * abs(value)
        terms = (m[m > 0] @ found[key][m > 0] for key, m in (("log_u", p), ("log_v", q)))
        assert abs(found["objective"] - objective) <= off * (value + (sum(map(abs, terms)) + 1) / lam)
        there = p > 0
        assert np.isneginf(grad[~there]).all()
        assert np.abs(found["grad"][there] - grad[there]).max() * lam <= off * max(1, np.abs(grad[there] * lam).max())


def test_two_bins_reach_the_closed_form():
    (case,) = (case for name, case in CASES.items() if name.startswith("two bins"))
    p, q, cost, lam = inputs(case)
    optimum = sinkhorn_oracle.two_bins([Fraction(x) for x in p], [Fraction(x) for x in q], Fraction(cost[0, 1]), lam)
    for name in VARIANTS:
        assert abs(Fraction(case["answers"][name]["objective"]) - optimum) < Fraction(1, 10**25)


@pytest.mark.parametrize("start", ["a hundred iterations", "two bins", "one bin against all"])
def test_certificates_enclose_the_objective_where_it_has_converged(start):
    """Weak duality is a proof that shares nothing with the alternation."""
    (case,) = (case for name, case in CASES.items() if name.startswith(start))
    lower, upper = emdref.certify_sinkhorn(*inputs(case))
    assert lower <= float(case["answers"]["paper"]["objective"]) <= upper and upper - lower < 1e-9


# --- emdref's floats --------------------------------------------------------------------------------------------------


@every_case
def test_values_and_gradients_of_emdref(case):
    """The linear domain, where it need not fail, and the log domain, in each dtype that holds the inputs."""
    for dtype in case["dtypes"]:
        p, q, cost, lam = inputs(case, dtype)
        for domain in ("linear", "log"):
            if domain == "linear" and dtype in case["linear_fails"]:
                continue
            off = bound(case, dtype)
            for name in VARIANTS if case["max_iter"] <= 20 else ("paper", "caffe"):
                r = emdref.sinkhorn(p, q, cost, lam, max_iter=case["max_iter"], variant=name, domain=domain)
                value, objective, grad = answers(case, name)
                got = r.objective if name == "caffe" else r.value
                terms = abs(p[p > 0] @ r.log_u[p > 0]) + abs(q[q > 0] @ r.log_v[q > 0]) + 1
                right, size = (objective, value + terms / lam) if name == "caffe" else (value, value)
                assert abs(got - right) <= off * size, (name, domain, dtype)
                there = p > 0
                assert np.isneginf(r.grad[~there]).all()
                most = max(1, np.abs(r.log_u[there]).max())
                assert np.abs(r.grad[there] - grad[there]).max() * lam <= off * most, (name, domain, dtype)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["linear_fails"]])
def test_what_must_fail_fails(name):
    case = CASES[name]
    for dtype in case["linear_fails"]:
        p, q, cost, lam = inputs(case, dtype)
        for variant in VARIANTS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                r = emdref.sinkhorn(p, q, cost, lam, max_iter=case["max_iter"], variant=variant)
            assert r.status in ("nan", "overflow", "underflow")
            assert not math.isfinite(float(r.value) + float(r.grad[p > 0].sum()))


# --- the checker ------------------------------------------------------------------------------------------------------


def check(folder):
    command = [sys.executable, "-I", "-S", str(folder / "check_sinkhorn.py")]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)


def test_the_checker_needs_python_alone_and_agrees():
    done = check(FOLDER)
    numbers = sum(2 + len(a["gradient"]) for case in CASES.values() for a in case["answers"].values())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(CASES)} cases, {numbers} numbers, all right\n"
    lines = (FOLDER / "check_sinkhorn.py").read_text("ascii").splitlines()
    imported = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"json", "decimal", "pathlib"} and len(lines) <= 45


def bumped(text):
    """Another last digit, or another number altogether."""
    x = Decimal(text)
    return (
        "1.00000000000000000000000000000e+0" if x == 0 or x.is_infinite() else f"{x + abs(x) * Decimal('3e-29'):.29e}"
    )


def test_the_checker_finds_what_was_changed(tmp_path):
    shutil.copy(FOLDER / "check_sinkhorn.py", tmp_path)
    last = CASES["empty bins in p on an uneven chain of six bins, lam 3, 10 iterations"]

    def said(change):
        case = copy.deepcopy(last)
        change(case)
        (tmp_path / "sinkhorn.json").write_text(json.dumps({**FILE, "cases": [case]}), "ascii")
        done = check(tmp_path)
        return done.stderr if done.returncode == 1 else "all right"

    def changed(name, key, k):
        def change(case):
            answer = case["answers"][name]
            if key == "gradient":
                answer[key][k] = bumped(answer[key][k])
            else:
                answer[key] = bumped(answer[key])

        return change

    assert said(lambda case: None) == "all right"
    assert "caffe, cost[0] should be" in said(changed("caffe", "cost", 0))
    assert "mocha, objective[0] should be" in said(changed("mocha", "objective", 0))
    assert "cuturi, gradient[5] should be" in said(changed("cuturi", "gradient", 5))
    assert "paper, gradient[0] should be -Infinity" in said(changed("paper", "gradient", 0))
    assert "should be" in said(lambda case: case["answers"]["frogner"]["gradient"].pop())
    assert "should be" in said(lambda case: case.update(max_iter=9))
    for change in ({"format": "emdref-sinkhorn-2"}, {"cases": []}):
        (tmp_path / "sinkhorn.json").write_text(json.dumps({**FILE, **change}), "ascii")
        assert check(tmp_path).stderr.startswith("sinkhorn.json has no cases, or is of a format")
