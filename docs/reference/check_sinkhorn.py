"""Recompute every answer in sinkhorn.json by the definitions in README.md alone: python check_sinkhorn.py"""

import json
from decimal import Decimal, getcontext
from pathlib import Path

getcontext().prec, right = 60, 0
data = json.loads(Path(__file__).with_name("sinkhorn.json").read_text())
if data["format"] != "emdref-sinkhorn-1" or not data["cases"]:
    raise SystemExit("sinkhorn.json has no cases, or is of a format that these definitions are not about")
cases = data["cases"]
for case in cases:
    p, q, *cost = ([Decimal(float.fromhex(x)) for x in row] for row in (case["p"], case["q"], *case["cost"]))
    lam, bins = Decimal(float.fromhex(case["lam"])), range(len(p))
    kept = [i for i in bins if p[i]]
    for name, answers in case["answers"].items():
        shift = name in ("paper", "frogner", "caffe")
        K = [[(-lam * m - shift).exp() for m in row] for row in cost]
        first = {"cuturi": Decimal(len(kept)), "mocha": 1 / Decimal(len(p))}.get(name, Decimal(1))
        u = v = [first * (p[i] > 0 or name != "cuturi") for i in bins]
        for it in range(case["max_iter"] + 1):  # the last time v alone is refreshed
            last = it == case["max_iter"]
            if not (last and name == "caffe"):
                v = [q[j] and q[j] / sum(u[i] * K[i][j] for i in bins) for j in bins]
            if not last:
                u = [p[i] and p[i] / sum(K[i][j] * v[j] for j in bins) for i in bins]
        plan = [(u[i] * K[i][j] * v[j], cost[i][j]) for i in bins for j in bins]
        value = sum(t * m for t, m in plan)
        grad = [u[i].ln() / lam if p[i] else Decimal("-inf") for i in bins]
        mean = sum(grad[i] for i in kept) / len(kept) if name in ("frogner", "caffe") else 0
        found = {"cost": [value], "objective": [value + sum(t * t.ln() for t, m in plan if t) / lam]}
        found["gradient"] = [x - mean for x in grad]
        given = {key: [x] if isinstance(x, str) else x for key, x in answers.items()}
        for key, i, x in ((key, i, x) for key, numbers in found.items() for i, x in enumerate(numbers)):
            slack = abs(x) / 10**29 + Decimal("1e-45") if x.is_finite() else 0  # of 30 digits
            y = [Decimal(y) for y in given.get(key, [])[i : i + 1]]
            if not y or (x != y[0] and not abs(x - y[0]) <= slack):
                raise SystemExit(f"sinkhorn.json, case {case['name']}: {name}, {key}[{i}] should be {x:.29e}")
            right += 1
print(f"{len(cases)} cases, {right} numbers, all right")
