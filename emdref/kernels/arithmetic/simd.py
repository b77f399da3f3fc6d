"""The compiled operations of emdref.kernels.arithmetic.lanes, by hand: vectors as LLVM's own, so that nothing is left
to chance.

LLVM splits a vector that is wider than the machine's registers; no other width is needed.  No operation here is allowed
to reorder, contract or approximate.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.cpu import CPUContext
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

_BITS = 512
_INDEX = ir.IntType(32)


class Lanes(types.Type):
    """A vector of 64 bytes."""

    def __init__(self, dtype):
        self.dtype, self.count = dtype, _BITS // dtype.bitwidth
        super().__init__(name=f"Lanes({dtype})")

    @property
    def key(self):
        return self.dtype


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, ir.VectorType(manager.lookup(lanes.dtype).get_value_type(), lanes.count))


class Mask(types.Type):
    """What a comparison says of each lane."""

    def __init__(self, count):
        self.count = count
        super().__init__(name=f"Mask({count})")

    @property
    def key(self):
        return self.count


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, mask):
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.count))


# --- arithmetic -------------------------------------------------------------------------------------------------------


def _common(arguments):
    """The Lanes among types that are lanes or scalars of the same dtype, or None."""
    lanes = next((t for t in arguments if isinstance(t, Lanes)), None)
    return lanes if lanes and all(t in (lanes, lanes.dtype) for t in arguments) else None


def _spread(builder, value, count):
    """A scalar in all lanes."""
    vector = ir.VectorType(value.type, count)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_INDEX, 0))
    return _shuffle(builder, one, one, [0] * count)


def _all_lanes(builder, sig, args):
    """The arguments as lanes, if any of them is."""
    lanes = _common(sig.args)
    if lanes is None:
        return list(args)
    pairs = zip(sig.args, args, strict=True)
    return [v if isinstance(t, Lanes) else _spread(builder, v, lanes.count) for t, v in pairs]


def _typed(operation, arity):
    @infer_global(operation)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            lanes = _common(args)
            return signature(lanes, *args) if lanes and not kws and len(args) == arity else None


def _define(operation, instruction):
    _typed(operation, 2)

    def lower(context, builder, sig, args):
        return getattr(builder, instruction)(*_all_lanes(builder, sig, args))

    for kinds in ((Lanes, Lanes), (Lanes, types.Float), (types.Float, Lanes)):
        lower_builtin(operation, *kinds)(lower)


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
    (operator.iadd, "fadd"),
    (operator.isub, "fsub"),
    (operator.imul, "fmul"),
    (operator.itruediv, "fdiv"),
):
    _define(_operation, _instruction)


def _compare(operation, sign):
    @infer_global(operation)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            lanes = _common(args)
            return signature(Mask(lanes.count), *args) if lanes and not kws else None

    def lower(context, builder, sig, args):
        return builder.fcmp_ordered(sign, *_all_lanes(builder, sig, args))

    for kinds in ((Lanes, Lanes), (Lanes, types.Float), (types.Float, Lanes)):
        lower_builtin(operation, *kinds)(lower)


for _operation, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _compare(_operation, _sign)


def _connect(operation, instruction):
    @infer_global(operation)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            masks = len(args) == 2 and isinstance(args[0], Mask) and args[0] == args[1]
            return signature(args[0], *args) if masks and not kws else None

    @lower_builtin(operation, Mask, Mask)
    def lower(context, builder, sig, args):
        return getattr(builder, instruction)(*args)


_connect(operator.and_, "and_")
_connect(operator.or_, "or_")

for _operation in (abs, operator.neg):
    _typed(_operation, 1)


@lower_builtin(operator.neg, Lanes)
def _negative(context, builder, sig, args):
    return builder.fneg(args[0])


def _llvm(builder, name, value, *more):
    """Call one of LLVM's intrinsics that is overloaded on the type of its first argument."""
    real = "f64" if _scalar(value.type) == ir.DoubleType() else "f32"
    lanes = f"v{value.type.count}" if isinstance(value.type, ir.VectorType) else ""
    return _named(builder, f"llvm.{name}.{lanes}{real}", value, *more)


def _named(builder, name, *values):
    """Call the intrinsic of that name, whose arguments and result are of one type."""
    kind = ir.FunctionType(values[0].type, [x.type for x in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def _scalar(kind):
    return kind.element if isinstance(kind, ir.VectorType) else kind


def _number(value, number):
    """A constant of the same type as a value."""
    if isinstance(value.type, ir.VectorType):
        return ir.Constant(value.type, [number] * value.type.count)
    return ir.Constant(value.type, number)


@lower_builtin(abs, Lanes)
def _absolute(context, builder, sig, args):
    return _llvm(builder, "fabs", args[0])


_typed(operator.pow, 2)


@lower_builtin(operator.pow, Lanes, types.Float)
def _power(context, builder, sig, args):
    """Lane by lane what a scalar gets."""
    lanes = sig.args[0]
    scalar = signature(lanes.dtype, lanes.dtype, lanes.dtype)
    power = context.get_function(operator.pow, scalar)
    result = args[0]
    for w in range(lanes.count):
        at = ir.Constant(_INDEX, w)
        result = builder.insert_element(result, power(builder, (builder.extract_element(args[0], at), args[1])), at)
    return result


def _elementwise(emit, arity):
    """A function of scalars and lanes from one of (builder, values)."""

    def typed(kinds):
        def generate(context, builder, sig, args):
            return emit(builder, *_all_lanes(builder, sig, args))

        return (_common(kinds) or kinds[0])(*kinds), generate

    if arity == 1:
        return intrinsic(lambda context, x: typed((x,)))
    if arity == 2:
        return intrinsic(lambda context, x, y: typed((x, y)))
    return intrinsic(lambda context, x, y, z: typed((x, y, z)))


def _chosen(builder, comparison, a, b, yes, no):
    return builder.select(builder.fcmp_ordered(comparison, a, b), yes, no)


@intrinsic
def choose(context, holds, yes, no):
    kind = (
        Lanes(yes)
        if isinstance(holds, Mask) and yes == no and not isinstance(yes, Lanes)
        else _common((yes, no)) or yes
    )

    def generate(context, builder, sig, args):
        values = list(zip(sig.args[1:], args[1:], strict=True))
        if isinstance(kind, Lanes):
            values = [(t, v if isinstance(t, Lanes) else _spread(builder, v, kind.count)) for t, v in values]
        return builder.select(args[0], *(v for _, v in values))

    return kind(holds, yes, no), generate


@intrinsic
def number(context, value, like):
    kind = getattr(like, "dtype", like)

    def generate(context, builder, sig, args):
        return context.cast(builder, args[0], sig.args[0], kind)

    return kind(types.float64, like), generate


def _sgn(builder, x):
    if not isinstance(x.type, ir.VectorType):
        one = _chosen(builder, "<", x, _number(x, 0.0), _number(x, -1.0), _number(x, 1.0))
        return _chosen(builder, "==", x, _number(x, 0.0), x, one)
    return _chosen(builder, "==", x, _number(x, 0.0), x, _llvm(builder, "copysign", _number(x, 1.0), x))


def _minus(builder, x):
    return builder.fsub(_number(x, -0.0), x)  # NVVM knows no fneg


def _rounds_apart(builder, x, d):
    upper, lower = (_converted(builder, y, types.float32) for y in (builder.fadd(x, d), builder.fsub(x, d)))
    return _converted(builder, builder.fsub(upper, lower), types.float64)


@intrinsic
def product(context, a, b):
    def generate(context, builder, sig, args):
        values = _all_lanes(builder, sig, args)
        if isinstance(context, CPUContext):
            return builder.fmul(*values)
        return _named(builder, f"llvm.nvvm.mul.rn.{'d' if a == types.float64 else 'f'}", *values)

    return (_common((a, b)) or a)(a, b), generate


if_positive = _elementwise(lambda builder, x, other: _chosen(builder, ">", x, _number(x, 0.0), x, other), 2)
lesser = _elementwise(lambda builder, a, b: _chosen(builder, "<", a, b, a, b), 2)
greater = _elementwise(lambda builder, a, b: _chosen(builder, ">", a, b, a, b), 2)
sgn = _elementwise(_sgn, 1)
rounds_apart = _elementwise(_rounds_apart, 2)
product_error = _elementwise(lambda builder, a, b, p: _llvm(builder, "fma", a, b, _minus(builder, p)), 3)


def _folded(combine):
    """One number from all lanes: the upper half combined with the lower, until one is left."""

    @intrinsic
    def fold(context, x):
        def generate(context, builder, sig, args):
            value, size = args[0], x.count
            while size > 1:
                size //= 2
                upper = _shuffle(builder, value, value, [(w + size) % x.count for w in range(x.count)])
                value = combine(builder, value, upper)
            return builder.extract_element(value, ir.Constant(_INDEX, 0))

        return x.dtype(x), generate

    return fold


total = _folded(lambda builder, a, b: builder.fadd(a, b))
least = _folded(lambda builder, a, b: _chosen(builder, "<", a, b, a, b))


# --- memory -----------------------------------------------------------------------------------------------------------


def _vectors(context, builder, array_type, array, count):
    """(read, write) of `count` consecutive entries of a contiguous array."""
    data = context.make_array(array_type)(context, builder, array).data
    entry = context.get_value_type(array_type.dtype)
    size, kind = array_type.dtype.bitwidth // 8, ir.VectorType(entry, count)

    def pointer(at):
        offset = builder.mul(at, ir.Constant(at.type, size))
        return builder.bitcast(cgutils.pointer_add(builder, data, offset), kind.as_pointer())

    def read(at):
        return builder.load(pointer(at), align=size)

    def write(at, vector):
        builder.store(vector, pointer(at), align=size)

    return read, write


@intrinsic
def fill(context, value):
    def generate(context, builder, sig, args):
        return _spread(builder, args[0], sig.return_type.count)

    return Lanes(value)(value), generate


def _loaded(array, step):
    lanes = Lanes(array.dtype)

    def generate(context, builder, sig, args):
        read, _ = _vectors(context, builder, sig.args[0], args[0], lanes.count)
        return read(builder.mul(args[1], ir.Constant(args[1].type, lanes.count)) if step else args[1])

    return lanes(array, types.int64), generate


@intrinsic
def load(context, x, v):
    return _loaded(x, True)


@intrinsic
def load_row(context, x, at):
    return _loaded(x, False)


def _entry(context, builder, array_type, array, at):
    """Where an entry of a contiguous array is."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [at], inbounds=True)


@intrinsic
def peek(context, x, at):
    def generate(context, builder, sig, args):
        place = _entry(context, builder, sig.args[0], args[0], args[1])
        return context.unpack_value(builder, x.dtype, place)

    return x.dtype(x, types.int64), generate


@intrinsic
def poke(context, x, at, value):
    def generate(context, builder, sig, args):
        place = _entry(context, builder, sig.args[0], args[0], args[1])
        context.pack_value(builder, x.dtype, args[2], place)
        return context.get_dummy_value()

    return types.void(x, types.int64, x.dtype), generate


@intrinsic
def store(context, x, v, lanes):
    def generate(context, builder, sig, args):
        _, write = _vectors(context, builder, sig.args[0], args[0], lanes.count)
        write(builder.mul(args[1], ir.Constant(args[1].type, lanes.count)), args[2])
        return context.get_dummy_value()

    return types.void(x, types.int64, lanes), generate


# --- rows into lanes and back -----------------------------------------------------------------------------------------


def _shuffle(builder, a, b, picks):
    mask = ir.Constant(ir.VectorType(_INDEX, len(picks)), picks)
    return builder.shuffle_vector(a, b, mask)


def _chunk(vector):
    """Entries in 128 bits, within which processors shuffle most cheaply."""
    return 2 if vector.type.element == ir.DoubleType() else 4


def _interleave(builder, a, b, group, upper):
    """Groups of entries of a and b in turn, from the lower or the upper half of each chunk."""
    count, chunk = a.type.count, _chunk(a)
    picks = []
    for start in range(0, count, chunk):
        first = start + (chunk // 2 if upper else 0)
        for at in range(first, first + chunk // 2, group):
            picks += [*range(at, at + group), *range(count + at, count + at + group)]
    return _shuffle(builder, a, b, picks)


def _exchange(builder, a, b, size):
    """Swap every second block of that size of a with the block before it of b."""
    lanes = range(a.type.count)
    low = [w if not w & size else a.type.count + w - size for w in lanes]
    high = [w + size if not w & size else a.type.count + w for w in lanes]
    return _shuffle(builder, a, b, low), _shuffle(builder, a, b, high)


def _turned(builder, rows):
    """The transposed of a square block: within chunks by interleaving, then chunks by exchanges."""
    count, chunk = len(rows), _chunk(rows[0])
    group = 1
    while group < chunk:
        rows = _interleaved(builder, rows, group, chunk)
        group *= 2
    size = chunk
    while size < count:
        rows = list(rows)
        for j in (j for j in range(count) if not j & size):
            rows[j], rows[j + size] = _exchange(builder, rows[j], rows[j + size], size)
        size *= 2
    return rows


def _interleaved(builder, rows, group, chunk):
    """One step within chunks: rows `group` apart, so that each step doubles what stands together."""
    result = [None] * len(rows)
    for base in range(0, len(rows), chunk):
        for j in range(0, chunk, 2 * group):
            for k in range(group):
                a, b = rows[base + j + k], rows[base + j + k + group]
                result[base + j + 2 * k] = _interleave(builder, a, b, group, False)
                result[base + j + 2 * k + 1] = _interleave(builder, a, b, group, True)
    return result


def _places(builder, at, step, last, count):
    """Where rows start; those after the one number `last` where that starts."""
    offset, places = ir.Constant(at.type, 0), [at]  # offsets are the same for every block of the rows
    for w in range(1, count):
        further = builder.icmp_signed("<=", ir.Constant(last.type, w), last)
        offset = builder.select(further, builder.add(offset, step), offset)
        places.append(builder.add(at, offset))
    return places


def _fetch_ahead(context, builder, array_type, array, places, step):
    """Fetch the same columns of the rows that come next, a square of them later, into the second-level cache."""
    ahead = builder.mul(step, ir.Constant(step.type, len(places)))
    _fetch(context, builder, array_type, array, [builder.add(place, ahead) for place in places], (0, 2, 1))


def _fetch(context, builder, array_type, array, places, options):
    """Fetch entries of an array into a cache; beyond the array's end nothing happens."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    data = context.make_array(array_type)(context, builder, array).data
    for place in places:
        offset = builder.mul(place, ir.Constant(place.type, array_type.dtype.bitwidth // 8))
        address = builder.bitcast(cgutils.pointer_add(builder, data, offset), byte)
        builder.call(fetch, [address, *(ir.Constant(number, option) for option in options)])


def _lane_places(kind, count):
    return [ir.Constant(kind, j * count) for j in range(count)]


def _write_turned(builder, write, kind, rows, dtype):
    """Column j of the rows becomes lanes j, in that dtype."""
    for place, lanes in zip(_lane_places(kind, len(rows)), _turned(builder, rows), strict=True):
        write(place, _converted(builder, lanes, dtype))


def _converted(builder, value, dtype):
    """A vector in another dtype, rounded to nearest."""
    count, kind = value.type.count, ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    if value.type.element == kind:
        return value
    convert = builder.fptrunc if dtype == types.float32 else builder.fpext
    return convert(value, ir.VectorType(kind, count))


@intrinsic
def turn_difference(context, p, at, p_step, q, bt, q_step, last, out):
    count = Lanes(out.dtype).count

    def generate(context, builder, sig, args):
        p, at, p_step, q, bt, q_step, last, out = args
        read_p, _ = _vectors(context, builder, sig.args[0], p, count)
        read_q, _ = _vectors(context, builder, sig.args[3], q, count)
        _, write = _vectors(context, builder, sig.args[7], out, count)
        places = [_places(builder, *x, last, count) for x in ((at, p_step), (bt, q_step))]
        rows = [
            builder.fsub(*(_converted(builder, x, sig.args[7].dtype) for x in (read_p(a), read_q(b))))
            for a, b in zip(*places, strict=True)
        ]
        for i, array, step in ((0, p, p_step), (3, q, q_step)):
            _fetch_ahead(context, builder, sig.args[i], array, places[i // 3], step)
        _write_turned(builder, write, at.type, rows, sig.args[7].dtype)
        return context.get_dummy_value()

    i = types.int64
    return types.void(p, i, i, q, i, i, i, out), generate


@intrinsic
def turn(context, x, at, step, last, out):
    count = Lanes(out.dtype).count

    def generate(context, builder, sig, args):
        x, at, step, last, out = args
        read, _ = _vectors(context, builder, sig.args[0], x, count)
        _, write = _vectors(context, builder, sig.args[4], out, count)
        places = _places(builder, at, step, last, count)
        rows = [read(a) for a in places]
        _fetch_ahead(context, builder, sig.args[0], x, places, step)
        _write_turned(builder, write, at.type, rows, sig.args[4].dtype)
        return context.get_dummy_value()

    return types.void(x, types.int64, types.int64, types.int64, out), generate


@intrinsic
def turn_back(context, block, x, at, step, last, ahead):
    count = Lanes(block.dtype).count

    def generate(context, builder, sig, args):
        block, x, at, step, last, ahead = args
        read, _ = _vectors(context, builder, sig.args[0], block, count)
        _, write = _vectors(context, builder, sig.args[1], x, count)
        lanes = [_converted(builder, read(place), sig.args[1].dtype) for place in _lane_places(at.type, count)]
        rows = _turned(builder, lanes)  # half as wide if they are float32 by now
        places = _places(builder, at, step, last, count)
        _fetch(context, builder, sig.args[1], x, [builder.add(place, ahead) for place in places], (1, 3, 1))
        for place, values in reversed(list(zip(places, rows, strict=True))):
            write(place, values)
        return context.get_dummy_value()

    return types.void(block, x, types.int64, types.int64, types.int64, types.int64), generate
