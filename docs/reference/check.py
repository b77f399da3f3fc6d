"""Recompute every answer in this folder from its inputs, by the definitions in README.md alone: python check.py"""

import json
from fractions import Fraction
from pathlib import Path

files, right = [Path(__file__).with_name(f"{grade}.json") for grade in ("easy", "ordinary", "hard", "hostile")], 0
cases = [(file.name, case) for file in files for case in json.loads(file.read_text())]
for file, case in cases:
    p, q, cost = ([Fraction(float.fromhex(x)) for x in case[key]] for key in ("p", "q", "cost"))
    n, mass, paths, found = Fraction(len(p)), sum(p), [[v] for v in case["bins"]], {}
    for path in paths:  # from each bin up, the root included
        while case["parent"][path[-1]] >= 0:
            path.append(case["parent"][path[-1]])
    below = [[k for k, path in enumerate(paths) if v in path and u >= 0] for v, u in enumerate(case["parent"])]
    for kind, a, b in ("", p, q), ("_normalized", [x / mass for x in p], [x / sum(q) for x in q]):
        phi = found["flow" + kind] = [sum(a[k] - b[k] for k in bins) for bins in below]
        found["value" + kind] = [sum(m * abs(f) ** rho for m, f in zip(cost, phi)) for rho in (1, 2, 3)]
        for rho in 1, 2, 3:
            r = [sum(rho * cost[v] * abs(phi[v]) ** rho / phi[v] for v in path if phi[v]) for path in paths]
            own = [("normalized", sum(x * y for x, y in zip(a, r)), 1 / mass)]
            plain = [("raw", 0, 1), ("zero_sum", sum(r) / n, 1), ("scaled", sum(r) / n, n)]
            for gauge, mean, factor in own if kind else plain:
                found[f"gradient_{gauge}_{rho}"] = [factor * (x - mean) for x in r]
    for name, i, x in ((name, i, str(x)) for name, numbers in found.items() for i, x in enumerate(numbers)):
        if case["answers"].get(name, [])[i : i + 1] != [x]:
            raise SystemExit(f"{file}, case {case['name']}: {name}[{i}] should be {x}")
        right += 1
print(f"{len(cases)} cases, {right} numbers, all right")
