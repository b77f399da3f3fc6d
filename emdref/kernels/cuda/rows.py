"""A thread per row: what emdref.kernels.rows.loops does with a row, for all that the other kernels here do not do.

Scratch is (arrays, entries, rows), so that neighbouring threads touch neighbouring numbers.  `given` is (p, p_step, q,
q_step), `direction` (v, v_step); `tree` and `how` are those of emdref.kernels.rows.loops.
"""

import math

from emdref.kernels.arithmetic.floats import two_sum
from emdref.kernels.compile.jit import row
from emdref.kernels.cuda import first_look
from emdref.kernels.cuda.target import cuda, kernel
from emdref.kernels.rows import hessian, hessian_two_limbs, loops


@row
def _fetch(x, at, n, to):
    for k in range(n):
        to[k] = x[at + k]


@row
def _deliver(line, result, at):
    """Write a line in the result's dtype; False if it was not all finite."""
    finite = True
    for k in range(len(line)):
        result[at + k] = line[k]
        finite = finite and abs(line[k]) < math.inf
    return finite


@row
def _fetch_pair(given, i, n, a, b):
    """Row i of p and q."""
    p, p_step, q, q_step = given
    _fetch(p, i * p_step, n, a)
    _fetch(q, i * q_step, n, b)


@row
def _flow_and_r(t, nodes, j):
    """A flow in two limbs, and r, in the first five arrays of scratch."""
    return (t[0, :nodes, j], t[1, :nodes, j], t[2, :nodes, j]), (t[3, :nodes, j], t[4, :nodes, j])


@kernel
def emd_two_limbs(first, rows, given, results, tree, how, t):
    """emdref.kernels.rows.loops.emd_twolimb; `results` is (value, grad, unsafe), `t` has 10 arrays."""
    value, grad, unsafe = results
    j = cuda.grid(1)
    i, bins = first + j, len(tree[2])
    if i < rows:
        a, b, line, number = t[5, :bins, j], t[6, :bins, j], t[7, :bins, j], t[8, :1, j]
        _fetch_pair(given, i, bins, a, b)
        flow, r = _flow_and_r(t, len(tree[0]), j)
        number[0] = 0.0
        wanted = line if len(grad) > 0 else t[9, :0, j]
        safe = loops.twolimb_emd(a, b, tree, how, flow, r, number, wanted)
        value[i] = number[0]
        if safe:
            safe = _deliver(wanted, grad, i * bins)
        unsafe[i] = not safe


@kernel
def flow_native(first, rows, given, phi, parent, bin_node, normalize, place, t):
    """emdref.kernels.rows.loops.flow_native, of the nodes in `place`; `t` has 3 arrays."""
    p, p_step, q, q_step = given
    j = cuda.grid(1)
    i, bins = first + j, len(bin_node)
    if i < rows:
        here = t[2, : len(parent), j]
        at, bt = i * p_step, i * q_step
        loops.native_flow(
            p[at : at + bins], q[bt : bt + bins], parent, bin_node, normalize, t[0, :bins, j], t[1, :bins, j], here
        )
        for k in range(len(place)):
            phi[i * len(place) + k] = here[place[k]] if place[k] > 0 else here.dtype.type(0)


@kernel
def flow_two_limbs(first, rows, given, results, tree, normalize, place, t):
    """emdref.kernels.rows.loops.flow_twolimb, of the nodes in `place`; `results` is (phi, unsafe), `t` has 5 arrays."""
    phi, unsafe = results
    parent, weight, bin_node = tree
    j = cuda.grid(1)
    i, bins, nodes = first + j, len(bin_node), len(parent)
    if i < rows:
        a, b = t[3, :bins, j], t[4, :bins, j]
        _fetch_pair(given, i, bins, a, b)
        h, l, err = t[0, :nodes, j], t[1, :nodes, j], t[2, :nodes, j]
        unsafe[i] = not loops.twolimb_flow(a, b, weight, parent, bin_node, normalize, h, l, err)
        for k in range(len(place)):
            phi[i * len(place) + k] = h[place[k]] if place[k] > 0 else 0.0


@row
def _native_scratch(t, bins, nodes, j):
    """What emdref.kernels.rows.loops.native_hvp works on, in the first seven arrays of scratch."""
    a, b, phi, r, c = t[0, :bins, j], t[1, :bins, j], t[2, :nodes, j], t[3, :nodes, j], t[4, :nodes, j]
    return a, b, phi, r, c, t[5, :bins, j], t[6, :bins, j]


@kernel
def hvp_native(first, rows, given, direction, results, tree, how, t):
    """emdref.kernels.rows.loops.hvp_native; `results` is (out, infinite), `t` has 8 arrays."""
    p, p_step, q, q_step = given
    v, v_step = direction
    out, infinite = results
    j = cuda.grid(1)
    i, bins = first + j, len(tree[2])
    if i < rows:
        at, bt, vt = i * p_step, i * q_step, i * v_step
        line, scratch = t[7, :bins, j], _native_scratch(t, bins, len(tree[0]), j)
        infinite[i] = loops.native_hvp(
            p[at : at + bins], q[bt : bt + bins], v[vt : vt + bins], tree, how, scratch, line
        )
        if infinite[i] == 0:
            _deliver(line, out, i * bins)


@row
def _bent(t, bins, nodes, j):
    """Bends, weights and slopes in two limbs, in six arrays of scratch."""
    return t[5:7, :nodes, j], t[9:11, :bins, j], t[11:13, :bins, j]


@kernel
def hvp_two_limbs(first, rows, given, direction, results, tree, how, t):
    """emdref.kernels.rows.loops.hvp_twolimb; `results` is (out, unsafe, infinite), `t` has 21 arrays."""
    v, v_step = direction
    out, unsafe, infinite = results
    j = cuda.grid(1)
    i, bins, nodes = first + j, len(tree[2]), len(tree[0])
    if i < rows:
        a, b, d, line = t[17, :bins, j], t[18, :bins, j], t[19, :bins, j], t[20, :bins, j]
        _fetch_pair(given, i, bins, a, b)
        _fetch(v, i * v_step, bins, d)
        flow, r = _flow_and_r(t, nodes, j)
        rest = t[7:9, :nodes, j], t[13:15, :bins, j], t[15:17, :bins, j]
        safe, edge = loops.twolimb_hvp(a, b, d, tree, how, flow, r, _bent(t, bins, nodes, j), rest, line)
        if safe and edge == 0:
            safe = _deliver(line, out, i * bins)
        unsafe[i], infinite[i] = not safe, edge


@kernel
def border_native(first, rows, given, results, tree, how, t):
    """What the lines of each Hessian are made of, in arrays 0 and 4 of the 7 of `t` and in `factors`.

    `results` is (infinite, factors).
    """
    p, p_step, q, q_step = given
    infinite, factors = results
    j = cuda.grid(1)
    i, bins = first + j, len(tree[2])
    if i < rows:
        at, bt = i * p_step, i * q_step
        infinite[i], factors[2 * j], factors[2 * j + 1] = loops.native_border(
            p[at : at + bins], q[bt : bt + bins], tree, how, _native_scratch(t, bins, len(tree[0]), j)
        )


@kernel
def lines_native(first, rows, chunk, out, infinite, factors, parent, bin_node, above, t):
    """emdref.kernels.rows.hessian.line, a thread a line; `above` is (entries, threads)."""
    thread, bins, threads = cuda.grid(1), len(bin_node), above.shape[1]
    for item in range(thread, chunk * bins, threads):
        j, k = item // bins, item % bins
        i = first + j
        if i < rows and infinite[i] == 0:
            sums, o, at = t[4, : len(parent), j], t[0, :bins, j], (i * bins + k) * bins
            line = out[at : at + bins]
            hessian.line(k, sums, o, factors[2 * j], parent, bin_node, factors[2 * j + 1], above[:, thread], line)


@kernel
def border_two_limbs(first, rows, given, results, tree, how, t):
    """What the lines of each Hessian are made of in two limbs, in arrays 5, 6 and 13, 14 of the 17 of `t`.

    `results` is (unsafe, infinite, factors), of which `factors` has 5 numbers a row.
    """
    unsafe, infinite, factors = results
    j = cuda.grid(1)
    i, bins, nodes = first + j, len(tree[2]), len(tree[0])
    if i < rows:
        a, b = t[15, :bins, j], t[16, :bins, j]
        _fetch_pair(given, i, bins, a, b)
        flow, r = _flow_and_r(t, nodes, j)
        safe, infinite[i], corner, factor, exponent = loops.twolimb_border(
            a, b, tree, how, flow, r, _bent(t, bins, nodes, j), t[7:9, :nodes, j], t[13:15, :bins, j]
        )
        unsafe[i] = not safe
        factors[5 * j], factors[5 * j + 1] = corner
        factors[5 * j + 2], factors[5 * j + 3] = factor
        factors[5 * j + 4] = exponent


@kernel
def lines_two_limbs(first, rows, chunk, out, unsafe, beyond, infinite, factors, parent, bin_node, above, t):
    """emdref.kernels.rows.hessian_two_limbs.line, a thread a line; `beyond` tells rows with a number that is not
    finite."""
    thread, bins, threads = cuda.grid(1), len(bin_node), above.shape[1]
    for item in range(thread, chunk * bins, threads):
        j, k = item // bins, item % bins
        i = first + j
        if i < rows and infinite[i] == 0 and not unsafe[i]:
            at = (i * bins + k) * bins
            line = out[at : at + bins]
            hessian_two_limbs.line(
                k, t[5:7, : len(parent), j], t[13:15, :bins, j], factors[5 * j], factors[5 * j + 1], parent, bin_node,
                factors[5 * j + 2], factors[5 * j + 3], int(factors[5 * j + 4]), above[:, thread], line,
            )  # fmt: skip
            for x in line:
                if not abs(x) < math.inf:
                    beyond[i] = True


@kernel
def shares(p, p_step, bins, out, mass):
    """Each row over its total, a block a row."""
    i, me, others = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    t = cuda.shared.array(0, p.dtype)
    part = p.dtype.type(0)
    for k in range(me, bins, others):
        part += p[i * p_step + k]
    t[me] = part
    cuda.syncthreads()
    total = p.dtype.type(0)
    for m in range(others):
        total += t[m]
    for k in range(me, bins, others):
        out[i * bins + k] = p[i * p_step + k] / total
    if me == 0:
        mass[i] = total


@kernel
def project(share, bins, mass, grad):
    """Gauge ``normalized`` from r: (r - <share, r>) / mass, a block a row."""
    i, me, others = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    t = cuda.shared.array(0, grad.dtype)
    part = grad.dtype.type(0)
    for k in range(me, bins, others):
        part += share[i * bins + k] * grad[i * bins + k]
    t[me] = part
    cuda.syncthreads()
    mean = grad.dtype.type(0)
    for m in range(others):
        mean += t[m]
    for k in range(me, bins, others):
        grad[i * bins + k] = (grad[i * bins + k] - mean) / mass[i]


@kernel
def centre(v, v_step, bins, out):
    """Each row less its mean, in the result's dtype, a block a row."""
    i, me, others = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    t = cuda.shared.array(0, out.dtype)
    h, l = out.dtype.type(0), out.dtype.type(0)
    for k in range(me, bins, others):
        h, e = two_sum(h, out.dtype.type(v[i * v_step + k]))
        l += e
    t[me], t[others + me] = h, l
    cuda.syncthreads()
    h, l = out.dtype.type(0), out.dtype.type(0)
    for m in range(others):
        h, e = two_sum(h, t[m])
        l += e + t[others + m]
    mean = (h + l) / out.dtype.type(bins)
    for k in range(me, bins, others):
        out[i * bins + k] = out.dtype.type(v[i * v_step + k]) - mean


@kernel
def look(p, p_step, q, q_step, bins, half, doubt):
    """Which rows to look at again, a block a row."""
    i, me, others = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    t = cuda.shared.array(0, p.dtype)
    record = first_look.blank(p.dtype.type(0))
    for k in range(me, bins, others):
        record = first_look.note(record, p[i * p_step + k], q[i * q_step + k])
    first_look.put(t, me, others, record)
    cuda.syncthreads()
    if me == 0:
        for other in range(1, others):
            record = first_look.merge(record, first_look.get(t, other, others))
        doubt[i] = first_look.fails(record, half)


@kernel
def any_set(rows, doubt, unsafe, found):
    """found[0] becomes 1 if any row is doubtful, found[1] if any is unsafe."""
    for i in range(cuda.grid(1), rows, cuda.gridsize(1)):
        if doubt[i]:
            found[0] = 1
        if unsafe[i]:
            found[1] = 1
