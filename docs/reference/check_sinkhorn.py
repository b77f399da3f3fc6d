"""Recompute every answer in sinkhorn.json from its inputs, by the definitions in README.md alone: python check_sinkhorn.py"""

import json
from decimal import Decimal, getcontext
from pathlib import Path

getcontext().prec, right, cases = 60, 0, json.loads(Path(__file__).with_name("sinkhorn.json").read_text())["cases"]
def slack(x):  # of 30 digits, of which -inf has none
    return abs(x) / 10**29 + Decimal("1e-45") if x.is_finite() else -1


for case in cases:
    p, q, *cost = ([Decimal(float.fromhex(x)) for x in row] for row in (case["p"], case["q"], *case["cost"]))
    lam, bins = Decimal(float.fromhex(case["lam"])), range(len(p))
    for name in case["answers"]:
        shift, kept = name in ("paper", "frogner", "caffe"), [i for i in bins if p[i]]
        K = [[(-lam * m - shift).exp() for m in row] for row in cost]
        u0 = {"cuturi": Decimal(len(kept)), "mocha": 1 / Decimal(len(p))}.get(name, Decimal(1))
        u = [u0 * (p[i] > 0 or name != "cuturi") for i in bins]
        for it in range(case["max_iter"] + 1):  # the last time round v alone is refreshed
            last, v = it == case["max_iter"], v if it == case["max_iter"] and name == "caffe" else [
                q[j] and q[j] / sum(u[i] * K[i][j] for i in bins) for j in bins]  # fmt: skip
            u = u if last else [p[i] and p[i] / sum(K[i][j] * v[j] for j in bins) for i in bins]
        T = [(u[i] * K[i][j] * v[j], cost[i][j]) for i in bins for j in bins]
        found = {"cost": [sum(t * m for t, m in T)], "gradient": [u[i].ln() / lam if p[i] else -Decimal("inf") for i in bins]}
        found["objective"] = [found["cost"][0] + sum(t * t.ln() for t, m in T if t) / lam]
        if name in ("frogner", "caffe"):
            found["gradient"] = [x - sum(found["gradient"][i] for i in kept) / len(kept) for x in found["gradient"]]
        for key, numbers in found.items():
            given = case["answers"][name].get(key, [])
            for i, (x, y) in enumerate(zip([*numbers, None], [given] if isinstance(given, str) else [*given, None])):
                if x is not None and (y is None or x != Decimal(y) and not abs(x - Decimal(y)) <= slack(x)):
                    raise SystemExit(f"sinkhorn.json, case {case['name']}: {name}, {key}[{i}] should be {x:.29e}")
                right += x is not None
print(f"{len(cases)} cases, {right} numbers, all right")
