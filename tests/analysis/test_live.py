"""The live page's data: what its generator makes, to the last bit where it is exact, else to what rounding explains."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.sources import live

DATA = json.loads(live.OUT.read_text("ascii"))
CAPS, PAIR = live.CAPS[:2], "spread"  # of the committed ones; all take seconds


def test_circles_are_what_the_generator_makes():
    assert live.circles() == DATA["circles"]


def test_the_file_has_the_form_that_the_generator_gives_it():
    assert live.text(DATA["circles"], DATA["sinkhorn"]) == live.OUT.read_text("ascii")


def test_no_folder_is_said(monkeypatch, capsys):
    for part in ("circles", "sinkhorn"):
        monkeypatch.setattr(live, part.rstrip("s") + "s", lambda part=part: DATA[part])
    with pytest.raises(SystemExit):
        live.main(["--out", str(Path(live.OUT.parent, "none", "emdref.json"))])
    assert "none" in capsys.readouterr().err


def test_sinkhorn_is_what_the_generator_makes():
    """An error each half step of N products and an exponent of lam max(M), and thrice that in <T, M>."""
    compared = 0
    for kind, (parts, make) in live.SPACES.items():
        space = make(parts)
        assert parts == DATA["sinkhorn"]["spaces"][kind]
        pairs = {name: {"p": p, "q": q} for name, (p, q) in live.pairs(kind, space.n_bins).items()}
        assert pairs == DATA["sinkhorn"]["pairs"][kind]
        for case in (case for case in DATA["sinkhorn"]["cases"] if (case["space"], case["pair"]) == (kind, PAIR)):
            limits, growth = np.finfo(case["dtype"]), case["lam"] * space.diameter
            results = live.runs(**pairs[PAIR], space=space, lam=case["lam"], dtype=case["dtype"], caps=CAPS)
            for k, (cap, r) in enumerate(zip(CAPS, results, strict=True)):
                assert case["edge"][k] or r.status == case["status"][k]
                if r.status != "iteration_limit" or growth + 1 > -np.log(limits.smallest_normal):
                    continue
                off = float(limits.eps) * (2 * cap + 3) * (space.n_bins + 4 + growth)
                assert abs(r.value / case["value"][k] - 1) <= 3 * off
                there = np.isfinite(r.grad)
                grad, log_u = np.array(case["grad"][k], float)[there], r.log_u[there].astype(float)
                assert (abs(r.grad[there] - grad) * case["lam"] <= off + 2 * limits.eps * abs(log_u)).all()
                compared += 1
    assert compared > 30
