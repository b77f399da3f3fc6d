"""Value, gradient and flow on a tree: a block of threads works on a few rows, level by level.

Threads with the same `lane` share a row and deal its nodes among themselves.  A parent adds its children up in the
order in which emdref.kernels.tiles.two_limbs adds them to it, and edges are summed by blocks as there, so that in two
limbs every row comes to the CPU's own bits, whatever the launch.
"""

from typing import Any, NamedTuple

from emdref.kernels.arithmetic.lanes import peek, poke
from emdref.kernels.compile.jit import inline, row
from emdref.kernels.cuda import first_look, plain, two_limbs
from emdref.kernels.cuda.target import cuda, kernel
from emdref.kernels.tiles import two_limb_sums


class Shape(NamedTuple):
    """A tree in the kernels' order: nodes breadth first, siblings side by side."""

    parent: Any
    cost: Any
    weight: Any  # cost times the share of bins below; in two limbs the number of bins below
    exempt: Any  # two limbs: inf at leaves, whose flow is exact, else 0
    bin_node: Any
    empty: Any  # nodes without a bin
    levels: Any  # where each depth starts, and the number of nodes
    inner: Any  # nodes with children
    inner_levels: Any  # where each depth starts among them
    children: Any  # first child of each inner node and the last one, in turn


@row
def seen(mates, lane, step, record, aux):
    """All records of a row as one."""
    for mate in range(mates):
        record = first_look.merge(record, first_look.get(aux, mate * first_look.SIZE * step + lane, step))
    return record


def _entrance(arith):
    """Compile what fills scratch, in one arithmetic."""

    @inline
    def put(shape, k, a, b, lane, step, t, record):
        arith.store(t, peek(shape.bin_node, k) * arith.PARTS * step + lane, step, arith.enter(a, b))
        return first_look.note(record, a, b)

    @row
    def enter(given, shape, launch, block, t, aux):
        """p - q at the bins' nodes, and each thread's record of what it read."""
        p, p_step, q, q_step = given
        mates, step, bins = launch.mates, launch.stride, len(shape.bin_node)
        team, mate, teams = cuda.threadIdx.x // mates, cuda.threadIdx.x % mates, cuda.blockDim.x // mates
        for lane in range(team, launch.lanes, teams):
            i = min(block + lane, launch.rows - 1)
            record, at, bt = first_look.blank(p.dtype.type(0)), i * p_step, i * q_step
            k = mate
            while k + 3 * mates < bins:  # eight numbers under way at a time
                a, b, c, d = first_look.four(p, at + k, mates)
                e, f, g, h = first_look.four(q, bt + k, mates)
                record = put(shape, k, a, e, lane, step, t, record)
                record = put(shape, k + mates, b, f, lane, step, t, record)
                record = put(shape, k + 2 * mates, c, g, lane, step, t, record)
                record = put(shape, k + 3 * mates, d, h, lane, step, t, record)
                k += 4 * mates
            while k < bins:
                record = put(shape, k, peek(p, at + k), peek(q, bt + k), lane, step, t, record)
                k += mates
            first_look.put(aux, mate * first_look.SIZE * step + lane, step, record)

    @row
    def clear(shape, lane, group, groups, step, t):
        for k in range(group, len(shape.empty), groups):
            arith.store(t, peek(shape.empty, k) * arith.PARTS * step + lane, step, arith.null(t.dtype.type(0)))

    return enter, clear


def _way_up(arith):
    """Compile flows and the sums over edges, in one arithmetic."""

    @row
    def up(shape, lane, group, groups, step, closely, lost, t):
        """Flows of all nodes, Eq. (14), not settled; what they lost."""
        size = arith.PARTS * step
        for depth in range(len(shape.inner_levels) - 2, -1, -1):
            for j in range(peek(shape.inner_levels, depth) + group, peek(shape.inner_levels, depth + 1), groups):
                at = peek(shape.inner, j) * size + lane
                phi = arith.load(t, at, step)
                for c in range(peek(shape.children, 2 * j + 1), peek(shape.children, 2 * j) - 1, -1):
                    phi, lost = arith.plus(phi, arith.load(t, c * size + lane, step), lost, closely)
                arith.store(t, at, step, phi)
            cuda.syncthreads()
        return lost

    @row
    def edges(shape, lane, group, groups, step, rho, t, aux):
        """Settle flows, and the sums over each block of edges; Eqs. (13) and (15)."""
        nodes, size = len(shape.parent), arith.PARTS * step
        for b in range(group, (nodes + two_limb_sums.EDGES - 1) // two_limb_sums.EDGES, groups):
            first = b * two_limb_sums.EDGES
            sums = arith.begin(arith.null(t.dtype.type(0)))
            for v in range(min(first + two_limb_sums.EDGES, nodes) - 1, max(first, 1) - 1, -1):
                if peek(shape.cost, v) > 0:
                    phi = arith.settled(arith.load(t, v * size + lane, step))
                    arith.store(t, v * size + lane, step, phi)
                    sums = arith.add_edge(
                        sums, phi, peek(shape.cost, v), peek(shape.weight, v), rho, peek(shape.exempt, v)
                    )
            arith.store_sums(aux, b * arith.SIZE * step + lane, step, sums)

    @row
    def joined(shape, lane, step, sums, aux):
        """The sums over all edges, the last block first."""
        for b in range((len(shape.parent) + two_limb_sums.EDGES - 1) // two_limb_sums.EDGES - 1, -1, -1):
            sums = arith.join(sums, arith.load_sums(aux, b * arith.SIZE * step + lane, step))
        return sums

    return up, edges, joined


def _way_down(arith):
    """Compile what leaves scratch: the gradient, or flows, in one arithmetic."""

    @row
    def down(shape, lane, group, groups, step, rho, t):
        """r of all nodes in place of their flows, the root's being given."""
        size = arith.PARTS * step
        for depth in range(1, len(shape.levels) - 1):
            for v in range(peek(shape.levels, depth) + group, peek(shape.levels, depth + 1), groups):
                r = arith.load(t, peek(shape.parent, v) * size + lane, step)
                phi = arith.load(t, v * size + lane, step)
                arith.store(t, v * size + lane, step, arith.slope(r, phi, peek(shape.cost, v), rho))
            cuda.syncthreads()

    @row
    def leave(grad, factor, shape, launch, block, t):
        """The gradient at the bins."""
        mates, step, bins = launch.mates, launch.stride, len(shape.bin_node)
        team, mate, teams = cuda.threadIdx.x // mates, cuda.threadIdx.x % mates, cuda.blockDim.x // mates
        for lane in range(team, min(launch.lanes, launch.rows - block), teams):
            for k in range(mate, bins, mates):
                r = arith.load(t, peek(shape.bin_node, k) * arith.PARTS * step + lane, step)
                poke(grad, (block + lane) * bins + k, arith.gradient(r, factor))

    @row
    def leave_flows(flows, place, launch, block, t):
        """Settled flows of the nodes in `place`, 0 at the root."""
        mates, step = launch.mates, launch.stride
        team, mate, teams = cuda.threadIdx.x // mates, cuda.threadIdx.x % mates, cuda.blockDim.x // mates
        for lane in range(team, min(launch.lanes, launch.rows - block), teams):
            for k in range(mate, len(place), mates):
                phi = arith.settled(arith.load(t, peek(place, k) * arith.PARTS * step + lane, step))
                number = arith.number(phi)
                poke(flows, (block + lane) * len(place) + k, number if peek(place, k) > 0 else number - number)

    return down, leave, leave_flows


def _kernel(arith, in_shared):
    """Compile the kernel for one arithmetic, with scratch in shared or in global memory."""
    enter, clear = _entrance(arith)
    up, edges, joined = _way_up(arith)
    down, leave, leave_flows = _way_down(arith)

    @kernel
    def tree(launch, given, results, place, shape, numbers, scratch):
        """Value, and gradient or flows unless they are empty; which rows to look at or to do again.

        `given` is (p, p_step, q, q_step), `results` (value, grad, flows, doubt, unsafe); `place` is of flows alone.
        """
        value, grad, flows, doubt, unsafe = results
        rho, share, factor, half, closely, digits, bounds = numbers
        lanes, step, nodes = launch.lanes, launch.stride, len(shape.parent)
        lane, group, groups = cuda.threadIdx.x % lanes, cuda.threadIdx.x // lanes, cuda.blockDim.x // lanes
        block = launch.first + cuda.blockIdx.x * lanes
        if in_shared:
            t = cuda.shared.array(0, scratch.dtype)
        else:
            room = len(scratch) // cuda.gridDim.x
            t = scratch[cuda.blockIdx.x * room : (cuda.blockIdx.x + 1) * room]
        aux = t[nodes * arith.PARTS * step :]
        clear(shape, lane, group, groups, step, t)
        enter(given, shape, launch, block, t, aux)
        cuda.syncthreads()
        record = first_look.blank(scratch.dtype.type(0))
        if group == 0:
            record = seen(launch.mates, lane, step, record, aux)
        cuda.syncthreads()
        lost = up(shape, lane, group, groups, step, closely, scratch.dtype.type(0), t)
        edges(shape, lane, group, groups, step, rho, t, aux)
        cuda.syncthreads()
        sums = arith.begin(arith.null(scratch.dtype.type(0)))
        if group == 0:
            sums = joined(shape, lane, step, sums, aux)
            arith.store(t, lane, step, arith.minus(arith.mean(sums, share)))
        cuda.syncthreads()
        poke(aux, group * step + lane, lost)
        cuda.syncthreads()
        if group == 0 and block + lane < launch.rows:
            i = block + lane
            for g in range(1, groups):
                lost += peek(aux, g * step + lane)
            most = arith.most_lost(record, lost, closely, digits, float(len(shape.bin_node) + nodes))
            again, within = arith.judge(sums, most, bounds, factor)
            value[i] = arith.value(sums)
            unsafe[i] = most > type(most)(0) if len(flows) > 0 else again
            doubt[i] = not within or first_look.fails(record, half)
        if len(flows) > 0:
            leave_flows(flows, place, launch, block, t)
        if len(grad) > 0:
            down(shape, lane, group, groups, step, rho, t)
            leave(grad, factor, shape, launch, block, t)

    return tree


tree_native, tree_native_far = _kernel(plain, True), _kernel(plain, False)
tree_two_limbs, tree_two_limbs_far = _kernel(two_limbs, True), _kernel(two_limbs, False)
