"""Validation of histograms and options, done once in each public function.

Every message names the argument, the row and the bin, the amount, and the way out; nothing is cast,
clipped or rescaled.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from emdref.arguments import containers, devices, libraries
from emdref.arguments.casts import contiguous, frozen
from emdref.arguments.messages import cut, shown, type_name, written
from emdref.kernels.compile.threads import alone

Mass = Literal["raise", "normalize", "ignore"]
Normalize = Literal["softmax", "l1", "square"]  # how frameworks' losses make p of what a network puts out
Reduction = Literal["mean", "sum", "none"]
Accuracy = Literal["compensated", "native"]
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Batch(NamedTuple):
    """Pairs of histograms as rows, and how to give the results the caller's shape back."""

    p: NDArray[Any]  # (rows, N), C-contiguous, float32 or float64
    q: NDArray[Any]
    shape: "tuple[int, ...]"  # the leading axes, broadcast together
    v: "NDArray[Any] | None" = None  # a direction for each pair
    home: "libraries.Home | None" = None  # whose arrays results are

    def as_rows(self, array: NDArray[Any]) -> Any:
        """Give an array of one entry a row the leading axes and the caller's kind; one pair becomes a NumPy scalar."""
        result = array.reshape(self.shape + array.shape[1:])[()]
        return result if self.home is None else self.home.take(result)

    def on_host(self, array: NDArray[Any]) -> Any:
        """The same as a NumPy array, whatever the caller's kind."""
        return array.reshape(self.shape + array.shape[1:])[()]


def option(value: object, name: str, allowed: object) -> None:
    """Refuse a value that is not one of a Literal's."""
    choices = get_args(allowed)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}={shown(value)} is not one of {', '.join(choices)}")


def layers(normalize: object, reduction: object) -> None:
    """Refuse what frameworks' losses do not put before and after themselves."""
    if normalize is not None:
        option(normalize, "normalize", Normalize)
    option(reduction, "reduction", Reduction)


def exponent(rho: object) -> float:
    """rho as a float, finite and >= 1."""
    return _real(rho, "rho", lambda x: x >= 1, "must be finite and >= 1")


def positive(value: object, name: str) -> float:
    """A finite real number > 0."""
    return _real(value, name, lambda x: x > 0, "must be finite and > 0")


def weight(value: object, name: str) -> float:
    """A finite real number >= 0."""
    return _real(value, name, lambda x: x >= 0, "must be finite and >= 0")


def _real(value: Any, name: str, holds: Callable[[float], bool], rule: str) -> float:
    if type(value) is not float and type(value) is not int:
        _check_real(value, name)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a real number, not {type_name(value)}") from None
    except OverflowError:
        raise ValueError(f"{name} is beyond the range of float64; it {rule}") from None
    if not (math.isfinite(number) and holds(number)):
        raise ValueError(f"{name} = {number} {rule}")
    return number


def _check_real(value: Any, name: str) -> None:
    """Refuse what is no one number, though `float` may take it."""
    if isinstance(value, (bool, np.bool_, str, list, tuple, np.ma.MaskedArray)) or np.ndim(value) != 0:
        raise TypeError(f"{name} must be a real number, not {type_name(value)}")
    if getattr(value, "requires_grad", False):
        raise RuntimeError(f"{name} requires grad, and nothing flows back to it: give {name}.item()")


def iterable(values: Any, name: str) -> Any:
    """What can be gone through."""
    try:
        iter(values)
    except TypeError:
        raise TypeError(f"{name}={shown(values)} must be a sequence") from None
    return values


def count(value: object, name: str, least: int = 1) -> int:
    """An integer >= `least`."""
    number = integer(value, name)
    if number < least:
        raise ValueError(f"{name} = {written(value)} must be >= {least}")
    return number


def integer(value: object, name: str) -> int:
    """An integer of any sign."""
    if isinstance(value, (bool, np.bool_, np.timedelta64)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, not {type_name(value)}")
    return int(value)


def switch(value: object, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {shown(value)}")
    return bool(value)


def float_dtype(dtype: Any, or_else: str = "") -> "np.dtype[Any]":
    """float32 or float64, of any byte order, as a NumPy dtype."""
    try:
        result = np.dtype(dtype)
    except Exception:  # TypeError, or what the repr of whatever was given raises
        result = None
    if result is None or result.newbyteorder("=") not in _FLOATS:
        raise TypeError(f"dtype={shown(dtype)} must be float32 or float64{or_else}")
    return result


def converted(x: Any, name: str, dtype: Any) -> NDArray[Any]:
    """A histogram in `dtype`; what is finite must stay so."""
    before = histogram(x, name)
    with np.errstate(over="ignore", under="ignore"):
        after = before.astype(dtype, copy=False)
    check_range(before, after, name, np.dtype(dtype))
    return after


def check_range(before: NDArray[Any], after: NDArray[Any], name: str, dtype: Any) -> None:
    """Refuse what was finite and became infinite in a dtype."""
    lost = np.isinf(after) & np.isfinite(before)
    if lost.any():
        at = tuple(int(i) for i in np.argwhere(lost)[0])
        raise ValueError(f"{_where(at, name)} = {before[at]} is beyond {dtype}")


def rounds_in_float64(array: NDArray[Any]) -> bool:
    """True where an array holds integers of 2**53 or more in magnitude, which float64 may not hold exactly."""
    wide = array.dtype.kind in "iu" and array.dtype.itemsize == 8
    return wide and bool(((array >= 2**53) | (array <= -(2**53))).any())


def histogram(x: Any, name: str) -> NDArray[Any]:
    """A float32 or float64 array as it is, integers below 2**53 as float64, native byte order."""
    array = read(x, name)
    if array.dtype.kind in "iu":
        if rounds_in_float64(array):
            refuse_wide(name)
        return array.astype(np.float64)
    check_float(array.dtype, name)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def read(x: Any, name: str) -> NDArray[Any]:
    """What was given as a NumPy array: sparse rows made dense, nothing masked, ragged or on a GPU."""
    if type(x) is np.ndarray:
        return x
    devices.on_host(x, name)
    plain = containers.plain(x, name)
    try:
        return libraries.as_numpy(plain, name)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array of numbers ({cut(str(error), 160)})") from None


def refuse_wide(name: str) -> None:
    """Say that a histogram's integers are too large."""
    raise TypeError(f"{name} holds an integer of 2**53 or more, which float64 would round; give floats")


def check_float(dtype: "np.dtype[Any]", name: str) -> None:
    """Refuse a histogram of another dtype than float32 and float64, of any byte order."""
    if dtype.newbyteorder("=") not in _FLOATS:
        raise TypeError(
            f"{name} has dtype {written(dtype)}: give float32 or float64 (integers below 2**53 count as float64)"
        )


def batch(p: Any, q: Any, n_bins: "int | None", v: Any = None) -> Batch:
    """Check dtype, shape and entries of a pair of (batches of) histograms, and of a direction, and broadcast them.

    `n_bins` are the space's; None for those of p.
    """
    given = {"p": p, "q": q} if v is None else {"p": p, "q": q, "v": v}
    arrays = {name: histogram(x, name) for name, x in given.items()}
    of = "the space's" if n_bins else "p's"
    home, n_bins = libraries.home(given), n_bins or some_bins(arrays["p"], "p")
    same_dtype(arrays, given)
    lead, rows = leading_axes(arrays, n_bins, of), {}
    for name, x in arrays.items():
        (check_finite if name == "v" else check_histograms)(x, name)
        rows[name] = rows_of(x, (*lead, n_bins))
    return Batch(rows["p"], rows["q"], lead, rows.get("v"), home)


def unseen_batch(p: Any, q: Any, n_bins: int) -> "tuple[Batch, dict[str, NDArray[Any]]]":
    """Rows of p and q whose entries nobody looks at, in place if they lie as usual; and the arrays as given."""
    given = {"p": p, "q": q}
    if _lie_as_usual(p, q, n_bins):
        return Batch(frozen(p.reshape(-1, n_bins)), frozen(q.reshape(-1, n_bins)), p.shape[:-1]), given
    arrays = {name: histogram(x, name) for name, x in given.items()}
    home = libraries.home(given)
    same_dtype(arrays, given)
    lead = leading_axes(arrays, n_bins, "the space's")
    rows = (_views(x, (*lead, n_bins)) for x in arrays.values())
    return Batch(next(rows), next(rows), lead, None, home), arrays


def _lie_as_usual(p: Any, q: Any, n_bins: int) -> bool:
    """Whether both are NumPy's own arrays of one native float dtype and shape, one entry behind the other."""
    if not type(p) is type(q) is np.ndarray or p.dtype != q.dtype or p.dtype not in _FLOATS or p.shape != q.shape:
        return False
    flags = p.flags.c_contiguous and q.flags.c_contiguous and p.flags.aligned and q.flags.aligned
    return bool(flags and p.shape[-1:] == (n_bins,))


def _views(x: NDArray[Any], shape: "tuple[int, ...]") -> NDArray[Any]:
    """Rows in place if their entries stand side by side, at equal distances from row to row; else a copy."""
    full = x if x.shape == shape else np.broadcast_to(x, shape)
    rows = full.reshape(math.prod(shape[:-1]), shape[-1])
    step, size = rows.strides
    regular = size == x.itemsize and step >= 0 and step % size == 0 and x.flags.aligned
    return frozen(rows if regular or rows.size == 0 else contiguous(rows))


def some_bins(x: NDArray[Any], name: str) -> int:
    """The length of the last axis, which must hold a bin."""
    if x.shape[-1:] in ((), (0,)):
        raise ValueError(f"{name} has shape {written(x.shape)}: its last axis holds the bins, at least one")
    return x.shape[-1]


def same_dtype(arrays: "dict[str, Any]", given: "dict[str, Any]") -> None:
    """Refuse arrays of two dtypes, with an advice that suits what they were given as."""
    (first, a), *others = arrays.items()
    for name, x in others:
        if x.dtype != a.dtype:
            has, also = (hasattr(given[k], "dtype") for k in (first, name))  # not lists, nor tables of pandas
            cast = "to" if hasattr(given[name], "to") else "astype"
            way_out = f"{name}.{cast}({first}.dtype)" if also else f'np.asarray({name}, "{a.dtype}")'
            way_out += f" with {first} = np.asarray({first})" if also and not has else ""  # a list has no dtype
            raise TypeError(f"{first} is {a.dtype} and {name} is {x.dtype}: give both the same dtype, e.g. {way_out}")


def leading_axes(arrays: "dict[str, Any]", n_bins: int, of: str) -> "tuple[int, ...]":
    """The leading axes, broadcast together, of arrays that must have n_bins bins."""
    for name, x in arrays.items():
        if x.ndim == 0 or x.shape[-1] != n_bins:
            raise ValueError(f"{name} has shape {written(x.shape)}, its last axis must be {of} {n_bins} bins")
    lead: tuple[int, ...] = ()
    shapes = []
    for name, x in arrays.items():
        shapes.append(f"{name} {written(x.shape)}")
        try:
            lead = np.broadcast_shapes(lead, x.shape[:-1])
        except ValueError:
            raise ValueError(f"{' and '.join(shapes)} cannot be broadcast together") from None
    return lead


def check_finite(x: NDArray[Any], name: str) -> None:
    """Refuse NaN and inf."""
    good = np.isfinite(x)
    if not good.all():
        at = tuple(int(i) for i in np.argwhere(~good)[0])
        raise ValueError(f"{_where(at, name)} = {x[at]} is not finite")


def check_totals(rows: Batch) -> None:
    """Refuse rows whose totals are beyond their dtype, where native arithmetic would divide by inf."""
    for x, name in ((rows.p, "p"), (rows.q, "q")):
        beyond = _totals(x) > np.finfo(x.dtype).max
        if beyond.any():
            at = row_name(int(np.argmax(beyond)), rows.shape, ": ")
            raise ValueError(f'{at}the total of {name} is beyond {x.dtype}: use accuracy="compensated"')


def _where(index: "tuple[int | str, ...]", name: str) -> str:
    return f"{name}[{cut(', '.join(map(str, index)))}]"


def rows_of(x: NDArray[Any], shape: "tuple[int, ...]") -> NDArray[Any]:
    """x broadcast to a shape and laid out as read-only rows of its last axis."""
    full = np.broadcast_to(x, shape)
    return frozen(contiguous(full.reshape(math.prod(shape[:-1]), shape[-1])))


def check_histograms(x: NDArray[Any], name: str) -> None:
    """Refuse NaN, inf, negative mass and rows without any."""
    good = alone(lambda: (x >= 0) & (x < np.inf), work=5 * x.size)
    if not good.all():
        at = tuple(int(i) for i in np.argwhere(~good)[0])
        value = x[at]
        advice = "a histogram holds no negative mass" if value < 0 else "a histogram holds finite mass"
        raise ValueError(f"{_where(at, name)} = {value}: {advice}")
    check_some_mass(x, name)


def check_some_mass(x: NDArray[Any], name: str, advice: str = ": some mass is needed") -> None:
    """Refuse rows of zeros."""
    empty = ~x.any(axis=-1)
    if empty.any():
        at = tuple(int(i) for i in np.argwhere(empty)[0])
        raise ValueError(f"{_where((*at, ':'), name)} is all zeros{advice}")


def mass_tolerance(dtype: Any, n_bins: int) -> float:
    """How far two totals may differ, relative to the larger: 16 eps sqrt(N).

    Rounding each of N entries and their normaliser moves a softmax's total by a small multiple of eps sqrt(N), even if
    the normaliser was summed one by one; float32 at N = 1000 gets 6.0e-5, float64 1.1e-13.
    """
    return 16.0 * float(np.finfo(dtype).eps) * math.sqrt(n_bins)


def _totals(x: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return x.sum(axis=1, dtype=np.float64)


def row_name(i: int, shape: "tuple[int, ...]", end: str = "") -> str:
    """How a message calls the i-th pair: by its index on the leading axes, not at all if there is one pair alone."""
    if not shape:
        return ""
    index = tuple(int(k) for k in np.unravel_index(i, shape))
    return f"row {index[0] if len(index) == 1 else written(index)}{end}"


def check_masses(rows: Batch, way_out: str, dtype: Any = None) -> None:
    """Raise where the totals of a pair differ by more than rounding explains, in `dtype` if not in the rows' own."""
    tolerance = mass_tolerance(dtype or rows.p.dtype, rows.p.shape[1])
    p_mass, q_mass = _totals(rows.p), _totals(rows.q)
    huge = np.isinf(p_mass) | np.isinf(q_mass)
    if huge.any():  # 2**-64 of these rows is compared instead
        p_mass[huge], q_mass[huge] = (_totals(np.ldexp(x[huge], -64)) for x in (rows.p, rows.q))
    with np.errstate(under="ignore"):
        off = ~(np.abs(p_mass - q_mass) <= tolerance * np.maximum(p_mass, q_mass))
    if off.any():
        i = int(np.argmax(off))
        way_out = f"these are 2**-64 of totals that overflow; {way_out}" if huge[i] else way_out
        raise ValueError(
            f"{row_name(i, rows.shape, ': ')}p has total {p_mass[i]:.17g} and q {q_mass[i]:.17g}, "
            f"{p_mass[i] - q_mass[i]:+.3g} apart "
            f"(rounding explains {tolerance * max(p_mass[i], q_mass[i]):.2g}); {way_out}"
        )
