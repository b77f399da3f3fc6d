"""Types of the arguments of Sinkhorn's CUDA kernels, by "module.name" and the rows' dtype; see kernel_table.py."""

from numba import float64, int32, int64, types

from emdref.kernels.cuda.branches import Packed
from emdref.kernels.entropic.alternation import State


def flat(real):
    return types.Array(real, 1, "C")


INT, INTS, PLACES = int64, flat(int64), flat(int32)


def _tree(r):
    """The tree, lanes, rows, and scratch."""
    return types.NamedTuple([PLACES, flat(r), *[INT] * 4], Packed), INT, INT, flat(r)


def _state(r):
    return types.NamedUniTuple(flat(r), 6, State)


def _by_rows(r):
    return flat(r), INT, flat(r), INT


ARGUMENTS = {}
for _domain in ("linear", "log"):
    for _where in ("", "_far"):
        ARGUMENTS |= {
            f"entropic.{_domain}_product{_where}": lambda r: (*_tree(r), flat(r), flat(r)),
            f"entropic.{_domain}_alternate{_where}": lambda r: (*_tree(r), _state(r), INTS, flat(r), *[INT] * 3),
            f"entropic.{_domain}_cost{_where}": lambda r: (*_tree(r), *[flat(r)] * 4),
        }
    ARGUMENTS |= {
        f"balance.{_domain}_start": lambda r: (flat(r), *[INT] * 3, flat(r), INT, INT, flat(r)),
        f"balance.{_domain}_divide": lambda r: (*[flat(r)] * 3, INT, INT, INTS, INT),
        f"balance.{_domain}_settle": lambda r: (*[flat(r)] * 3, INT, INT, flat(r), INTS, INT),
        f"balance.{_domain}_weigh": lambda r: (flat(r), flat(r), INT, INT, flat(r)),
        f"balance.{_domain}_evaluate": lambda r: (
            *[types.UniTuple(flat(r), size) for size in (7, 6)], INT, INT,
            types.Tuple((flat(r), flat(r), INT, INT)), INTS, INTS, INTS,
        ),
        f"dense.{_domain}_product": lambda r: (flat(r), INT, INT, flat(r), flat(r), INT, INT, INT),
        f"dense.{_domain}_matrix": lambda r: (*[flat(r)] * 5, INTS),
    }  # fmt: skip
ARGUMENTS |= {
    "balance.logarithms": lambda r: (flat(r), flat(r)),
    "balance.look": lambda r: (*_by_rows(r), INT, INT, flat(float64), INTS),  # float64: totals as the CPU adds them
    "balance.convert": lambda r: (flat(r), INT, INT, flat(r)),
    "balance.clean": lambda r: (INTS, INT, INT),
    "balance.refused": lambda r: (flat(r), INTS),
    "balance.totals": lambda r: (flat(r), INT, INT, flat(r)),
    "balance.kept": lambda r: (flat(r), INT, INT, INTS),
}
DOUBLE = {"balance.look"}
_EXACT = ("product", "alternate", "product_far", "alternate_far", "divide")  # u and v in the linear domain
EXACT = {f"entropic.linear_{x}" for x in _EXACT[:4]} | {"balance.linear_divide", "balance.totals", "balance.convert"}
