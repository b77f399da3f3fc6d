"""Write what the live page's tests compare its JavaScript with: docs/live/tests/emdref.json.

    python -m analysis.sources.live [--out docs/live/tests/emdref.json]

Circles in exact rationals, the same on every machine; and what emdref's dense kernel gives for Sinkhorn, rows that fail
included, whose last bits depend on the processor's exp, log and BLAS.  docs/reference has neither: no circles, and of
Sinkhorn answers to 30 digits.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np

import emdref
from analysis.sources import reference_cases
from analysis.sources.reference import GAUGES, entries, written
from analysis.sources.reference_sinkhorn import masses, spike
from emdref import exact

OUT = Path(__file__).parents[2] / "docs" / "live" / "tests" / "emdref.json"
RHOS = (1, 2)  # of which circles have exact answers
CIRCLES = {
    "one bin": [1.0],
    "two bins": [0.5, 2.0],
    "three bins that are at one place": [0.0, 0.0, 0.0],
    "five bins": [1.0] * 5,
    "eight bins": [1.0] * 8,
    "seven bins, uneven": reference_cases.sixteenths("a circle", 7),
    "six bins, a gap of which costs 0": [1.0, 0.0, 2.5, 0.5, 0.125, 1.0],
    "six bins, a gap of which is as long as the others": [5.0, 1.0, 1.0, 1.0, 1.0, 1.0],
}
FAMILIES = (
    reference_cases.sixty_fourths,
    reference_cases.local,
    reference_cases.equal,
    reference_cases.more_mass,
    reference_cases.counts,
    reference_cases.softmax,
    reference_cases.blocks,
)
GROUPS = [-1, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
SPACES = {  # what makes a space of docs/live/src/spaces.js, and emdref's
    "chain": ({"kind": "chain", "gaps": [0.5, 2.0, 8.0, 0.25, 1.5, 4.0, 4.0]}, lambda x: emdref.Chain(gaps=x["gaps"])),
    "circle": ({"kind": "circle", "gaps": [1.0] * 6}, lambda x: emdref.Circle(gaps=x["gaps"])),
    "tree": (
        {"kind": "tree", "parent": GROUPS, "cost": [0.0, 1.0, 0.5, 0.25, *[0.5, 1.0] * 4], "bins": list(range(4, 12))},
        lambda x: emdref.Tree(x["parent"], x["cost"], x["bins"]),
    ),
}
LAMBDAS, CAPS = (0.5, 3.0, 10.0, 20.0, 50.0), (1, 10, 100, 1000)
FIELDS = ("failed_at", "value", "objective", "grad", "marginal_error")
NEAR = 0.01  # a status or failed_at that changes if lam does by this share is at an edge


def circle_case(family, name, gaps):
    """One pair on a circle, with every answer as rationals."""
    title = f"{family.__name__} on a circle of {name}"
    p, q = family(title, len(gaps), np.float64)
    space = emdref.Circle(gaps=gaps)
    answers = {}
    for rho in RHOS:
        answers[f"flow_{rho}"] = exact.flow(p, q, space, rho)
        answers[f"value_{rho}"] = [exact.emd(p, q, space, rho)]
        answers |= {f"gradient_{gauge}_{rho}": exact.grad(p, q, space, rho, gauge=gauge) for gauge in GAUGES}
    return {
        "name": title,
        "gaps": gaps,
        "p": [float(x) for x in p],
        "q": [float(x) for x in q],
        "answers": {key: [written(x) for x in numbers] for key, numbers in answers.items()},
    }


def circles():
    """All pairs on circles."""
    return [circle_case(family, name, gaps) for name, gaps in CIRCLES.items() for family in FAMILIES]


def pairs(kind, n):
    """Histograms of total 1 that float32 holds: two spread ones, a label, and empty bins in both."""
    p, q, fewer, others = (
        masses(f"{kind} {x}", n, empty) for x, empty in (("p", ()), ("q", ()), ("r", (0, 3)), ("s", (1, n - 1)))
    )
    return {"spread": (p, q), "label": (p, spike(2, n)), "empty": (fewer, others)}


def sinkhorn_case(parts, space, pair, p, q, lam, dtype):
    """What Algorithm 1 gives after each cap, in a dtype."""
    found, *near = (runs(p, q, space, lam * (1 + x), dtype, CAPS) for x in (0, -NEAR, NEAR))
    return {
        "space": parts["kind"],
        "pair": pair,
        "lam": lam,
        "dtype": dtype,
        "status": [r.status for r in found],
        "edge": [len({(r.status, int(r.failed_at)) for r in group}) > 1 for group in zip(found, *near, strict=True)],
        **{key: [_plain(getattr(r, key)) for r in found] for key in FIELDS},
    }


def runs(p, q, space, lam, dtype, caps):
    """emdref's results after each cap."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the rows that fail are wanted
        p, q = (np.array(x, dtype) for x in (p, q))
        last = emdref.sinkhorn(p, q, space, lam, max_iter=max(caps), kernel="dense", checkpoints=caps)
    return [last.checkpoints[cap] for cap in caps]


def _plain(x):
    """Numbers as JSON has them, others as text."""
    x = np.asarray(x)
    if x.ndim:
        return [_plain(y) for y in x]
    return x.item() if np.isfinite(x) else str(x.item())


def sinkhorns():
    """All of Sinkhorn: the spaces, the pairs on them, and the answers."""
    spaces = {kind: parts for kind, (parts, _) in SPACES.items()}
    found, cases = {}, []
    for kind, (parts, make) in SPACES.items():
        space = make(parts)
        found[kind] = {pair: {"p": p, "q": q} for pair, (p, q) in pairs(kind, space.n_bins).items()}
        cases += [
            sinkhorn_case(parts, space, pair, x["p"], x["q"], lam, dtype)
            for pair, x in found[kind].items()
            for lam in LAMBDAS
            for dtype in ("float64", "float32")
        ]
    return {"caps": list(CAPS), "spaces": spaces, "pairs": found, "cases": cases}


def text(circle_cases, sinkhorn):
    """The file, a line for each case of Sinkhorn and for each list of a circle's."""
    lines = []
    for case in circle_cases:
        plain = {key: json.dumps(x) for key, x in case.items() if key != "answers"}
        inner = entries({key: json.dumps(x) for key, x in case["answers"].items()}, "   ")
        lines.append("{" + entries({**plain, "answers": "{\n   " + inner + "}"}, " ") + "}")
    rows = ",\n".join(json.dumps(case) for case in sinkhorn["cases"])
    plain = {key: json.dumps(x) for key, x in sinkhorn.items() if key != "cases"}
    whole = {
        "circles": "[\n" + ",\n".join(lines) + "\n]",
        "sinkhorn": "{" + entries({**plain, "cases": f"[\n{rows}\n]"}, "") + "}",
    }
    return "{" + entries(whole, "") + "}\n"


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m analysis.sources.live", description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=OUT, help="the file to write (default: docs/live/tests/emdref.json)")
    args = parser.parse_args(argv)
    circle_cases, sinkhorn = circles(), sinkhorns()
    try:
        Path(args.out).write_text(text(circle_cases, sinkhorn), "ascii", newline="\n")
    except OSError as error:
        parser.error(str(error))
    print(f"{args.out}: {len(circle_cases)} pairs on circles, {len(sinkhorn['cases']) * len(CAPS)} runs of Sinkhorn")


if __name__ == "__main__":
    main()
