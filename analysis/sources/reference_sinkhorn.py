"""The Sinkhorn cases of the reference data: small matrices, and what each published variant gives, to 30 digits.

Everything is computed in Decimals of 80 digits, whose exp and ln are correctly rounded, from the floats' own values:
the same text on every machine, without the library's kernels.  docs/reference/README.md has the definitions.
"""

import json
from decimal import Context, Decimal, localcontext
from typing import NamedTuple

import numpy as np

from analysis.sources.reference_cases import drawn

FORMAT = "emdref-sinkhorn-1"
DIGITS = Context(prec=80)
NOISE = Decimal("1e-60")  # what is below it is 0 but for rounding
LOST = {"float32": 104, "float64": 746}  # exp(-x) is 0 there, subnormal numbers included, for x at least so large


class Variant(NamedTuple):
    """A published form of Algorithm 1, as docs/reference/README.md has it."""

    shift: int
    start: str
    drops: bool
    refreshes: bool
    centred: bool


VARIANTS = {
    "paper": Variant(1, "1", False, True, False),
    "frogner": Variant(1, "1", False, True, True),
    "cuturi": Variant(0, "N", True, True, False),
    "caffe": Variant(1, "1", False, False, True),
    "mocha": Variant(0, "1/N", False, True, False),
}


# --- inputs -----------------------------------------------------------------------------------------------------------


def path(*gaps):
    """Distances on a chain."""
    at = [sum(gaps[:i], 0.0) for i in range(len(gaps) + 1)]
    return [[abs(a - b) for b in at] for a in at]


def star(*arms):
    """Distances between the tips of a star."""
    return [[0.0 if i == j else a + b for j, b in enumerate(arms)] for i, a in enumerate(arms)]


def ring(n):
    """Distances on a ring of unit gaps."""
    return [[float(min(abs(i - j), n - abs(i - j))) for j in range(n)] for i in range(n)]


COSTS = {
    "two bins": path(0.75),
    "a chain of three bins": path(1.0, 1.0),
    "an uneven chain of six bins": path(0.5, 2.0, 1.0, 0.25, 1.5),
    "the tips of a star": star(0.5, 1.0, 0.25, 2.0),
    "a ring of five bins": ring(5),
    "three bins of which two are at one place": [[0.0, 0.0, 1.5], [0.0, 0.0, 1.5], [1.5, 1.5, 0.0]],
}


def masses(name, n, empty=()):
    """n multiples of 2**-10 of total 1, none at the empty bins."""
    kept = [k for k in range(n) if k not in empty]
    cuts = sorted({1 + x for x in drawn(name, 4 * n, 1023)})[: len(kept) - 1]
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, 1024], strict=True)]
    return [sizes[kept.index(k)] / 1024 if k in kept else 0.0 for k in range(n)]


def spike(k, n):
    return [float(i == k) for i in range(n)]


def cases():
    """(why, where, lam, iterations, p, q) of each."""
    two, three, six, arms, circle, twins = COSTS
    p, q = (masses(f"sinkhorn {x}", 6) for x in "pq")
    yield "one iteration, far from converged", six, 2.0, 1, p, q
    yield "ten iterations, as papers have it", six, 2.0, 10, p, q
    yield "a hundred iterations, converged", six, 1.0, 100, p, q
    yield "a lam that needs more iterations than there are", six, 16.0, 50, p, q
    yield "empty bins in p", six, 3.0, 10, masses("sinkhorn gaps", 6, (0, 3)), q
    yield "empty bins in q", six, 3.0, 10, p, masses("sinkhorn gaps", 6, (1, 5))
    yield (
        "p and q that share no bin",
        six,
        3.0,
        5,
        masses("sinkhorn left", 6, (3, 4, 5)),
        masses("sinkhorn right", 6, (0, 1, 2)),
    )
    yield "one bin against all, exact after one iteration", three, 3.0, 4, spike(0, 3), [0.25, 0.25, 0.5]
    yield "p = q", three, 3.0, 10, [0.25, 0.25, 0.5], [0.25, 0.25, 0.5]
    yield "two bins, where the optimum has a closed form", two, 4.0, 200, [0.75, 0.25], [0.25, 0.75]
    yield "a tree", arms, 5.0, 20, masses("sinkhorn p on a star", 4), masses("sinkhorn q on a star", 4)
    yield "a ring", circle, 2.5, 20, masses("sinkhorn p on a ring", 5), masses("sinkhorn q on a ring", 5)
    yield "costs of 0 between bins", twins, 2.0, 20, [0.5, 0.25, 0.25], [0.125, 0.25, 0.625]
    yield "a float32 kernel is 0 where all mass must go", three, 64.0, 10, spike(0, 3), spike(2, 3)
    yield "a float64 kernel is 0 where all mass must go", three, 512.0, 10, spike(0, 3), spike(2, 3)
    yield "a float32 kernel has lost what half of q needs", three, 60.0, 10, spike(0, 3), [0.5, 0.0, 0.5]
    yield "tiny masses", three, 2.0, 10, [2.0**-100, 0.5, 0.5], [0.5, 0.5, 2.0**-100]


# --- answers ----------------------------------------------------------------------------------------------------------


def answers(switches, p, q, cost, lam, iterations):
    """<T, M>, the objective and the gradient of one variant, as Decimals; None where p = 0."""
    kernel = [[(-lam * m - switches.shift).exp() for m in row] for row in cost]
    n = sum(x > 0 for x in p) if switches.drops else len(p)
    first = {"1": Decimal(1), "N": Decimal(n), "1/N": 1 / Decimal(n)}[switches.start]
    u = [first if x > 0 or not switches.drops else Decimal(0) for x in p]
    for _ in range(iterations):
        v = [x / dot(u, column) if x else x for x, column in zip(q, zip(*kernel, strict=True), strict=True)]
        u = [x / dot(row, v) if x else x for x, row in zip(p, kernel, strict=True)]
    if switches.refreshes:
        v = [x / dot(u, column) if x else x for x, column in zip(q, zip(*kernel, strict=True), strict=True)]
    plan = [[a * k * b for k, b in zip(row, v, strict=True)] for a, row in zip(u, kernel, strict=True)]
    value = sum(dot(t, m) for t, m in zip(plan, cost, strict=True))
    entropy = sum(t * t.ln() for row in plan for t in row if t)
    grad = [x.ln() / lam if x else None for x in u]
    kept = [x for x in grad if x is not None]
    mean = sum(kept) / len(kept) if switches.centred else 0
    return value, value + entropy / lam, [None if x is None else x - mean for x in grad]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def digits(x):
    """30 significant digits; what rounding leaves of 0 is 0."""
    return "-inf" if x is None else "0" if abs(x) < NOISE else f"{x:.29e}"


def fails(p, q, cost, lam, dtype):
    """Whether a bin that q needs has a column of K that is 0 in the dtype: then u and v lose all that goes there."""
    reach = [min(m for m, x in zip(row, p, strict=True) if x) for row, y in zip(cost, q, strict=True) if y]
    return lam * max(reach) >= LOST[dtype]


def holds(numbers, dtype):
    return all(float(np.dtype(dtype).type(x)) == x for x in numbers)


def case(why, where, lam, iterations, p, q):
    """One case as the file has it."""
    cost = COSTS[where]
    with localcontext(DIGITS):
        exact = [list(map(Decimal, x)) for x in (p, q, *cost)]
        given = exact[0], exact[1], exact[2:], Decimal(lam), iterations
        found = {name: answers(switches, *given) for name, switches in VARIANTS.items()}
        kinds = [x for x in LOST if holds([lam, *p, *q, *(m for row in cost for m in row)], x)]
        return {
            "name": f"{why.split(',')[0]} on {where}, lam {lam:g}, {iterations} iterations",
            "why": f"{why[0].upper()}{why[1:]}, on {where}.",
            "dtypes": kinds,
            "cost": [[x.hex() for x in row] for row in cost],
            "lam": lam.hex(),
            "max_iter": iterations,
            "p": [x.hex() for x in p],
            "q": [x.hex() for x in q],
            "linear_fails": [x for x in kinds if fails(p, q, cost, lam, x)],
            "answers": {
                name: {"cost": digits(value), "objective": digits(objective), "gradient": list(map(digits, grad))}
                for name, (value, objective, grad) in found.items()
            },
        }


def text():
    """The file, a line for each list of numbers."""
    lines = []
    for fields in (case(*one) for one in cases()):
        plain = [f"{json.dumps(key)}: {json.dumps(x)}" for key, x in fields.items() if key != "answers"]
        inner = [f"{json.dumps(key)}: {json.dumps(x)}" for key, x in fields["answers"].items()]
        lines.append("{" + ",\n ".join([*plain, '"answers": {\n   ' + ",\n   ".join(inner) + "}"]) + "}")
    return f'{{"format": "{FORMAT}", "cases": [\n' + ",\n".join(lines) + "\n]}\n"
