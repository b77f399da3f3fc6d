"""Every public function with inputs of every kind, and which kernels they compiled: python tests/project/every_call.py.

Prints for each kernel the types that `emdref.warming` compiles it for, and all that the calls needed, as JSON.
"""

import json
import warnings
from functools import partial
from itertools import product

import numpy as np
import scipy.sparse

import emdref
from emdref import exact, losses, normalize, warming
from emdref.entropic.variants import VARIANTS

GAUGES = "raw", "zero_sum", "scaled", "normalized"
PARENT, BINS = [-1, 0, 0, 1, 1, 2, 2, 2, 1, 4], [3, 9, 5, 6, 7, 0]
SPACES = emdref.Chain(6), emdref.Chain(gaps=[1, 2, 0, 3, 1.5]), emdref.Tree(PARENT, bins=BINS)
OPTIONS = [
    *({}, {"rho": 2}, {"rho": 3.0}, {"rho": 2.5}, {"mass": "normalize"}, {"mass": "ignore", "rho": np.float32(2)}),
    *({"accuracy": "native"}, {"accuracy": "native", "mass": "normalize"}, {"accuracy": "native", "rho": 2.5}),
]
HARD = [[1, 2.0**-60, 2.0**-120, 0, 0, 0]], [[0, 0, 0, 1, 2.0**-60, 2.0**-120]]  # what two limbs cannot hold
TINY = [[1, 0, 0, 0, 0, 2.0**-100]], [[1, 2.0**-100, 0, 0, 0, 0]]


def histograms(dtype, seed):
    return (np.random.default_rng(seed).multinomial(58, np.full(6, 1 / 6), 5) + 1).astype(dtype) / 64


def forms(dtype):
    """Pairs in every layout, all of the same total."""
    p, q = histograms(dtype, 0), histograms(dtype, 1)
    swapped = p.dtype.newbyteorder()
    read_only = p.copy()
    read_only.flags.writeable = False
    return [
        *((p, q), (p[0], q[0]), (p, q[0]), (p[None], q[:, None]), (np.asfortranarray(p), q), (p[::-1], q[::2][:1])),
        *((np.repeat(p, 2, 1)[:, ::2], q), (read_only, q), (p.tolist(), q.tolist()), (p.astype(swapped), q)),
        *([np.array(x, dtype) for x in pair] for pair in (HARD, TINY)),
    ]


def exact_emd(p, q, space):
    for k, ((a, b), options) in enumerate(product(forms(p.dtype), OPTIONS)):
        emdref.emd(a, b, space, **options)
        emdref.emd_cost_grad(a, b, space, **options)
        if "rho" not in options:
            emdref.flow(a, b, space, **options)
        for gauge in GAUGES if k < len(OPTIONS) else (GAUGES[k % len(GAUGES)],):
            emdref.emd_grad(a, b, space, gauge=gauge, **options)
            emdref.emd_value_and_grad(a, b, space, gauge=gauge, **options)
            if space.rooted is not None and (options.get("rho") != 2.5 or options.get("accuracy")):
                emdref.emd_hess(a, b, space, gauge=gauge, **{"rho": 2, **options})
                emdref.emd_hvp(a, b, space, a, gauge=gauge, **{"rho": 2, **options})


def all_pairs(p, q, space):
    x, y, both = scipy.sparse.csr_array(p), scipy.sparse.csc_array(q), np.concatenate([p, *HARD]).astype(p.dtype)
    for options in OPTIONS:
        emdref.emd(x, y, space, **options)
        emdref.emd(x, q[0], space, **options)
        for a, b in ((p, None), (p, q), (both, None), (x, None), (x, y), (x, q), (p[::2], q[:1])):
            emdref.pairwise(a, space, Y=b, **options)
    for table in (p, x):
        emdref.unifrac(table, space), emdref.unifrac(table, space, normalized=True)


def layers_and_losses(p, q, space):
    for a, b in forms(p.dtype):
        losses.mse(a, b), losses.emd_mse(a, b, space)
        for mass, loss in product(("raise", "normalize", "ignore"), (losses.kl, losses.cross_entropy)):
            loss(a, b, mass=mass)
        for layer in (normalize.l1, normalize.softmax, normalize.square):
            layer(a), layer.vjp(a, b)


def entropic(p, q, space):
    for where, domain, variant in product((space, space.distance_matrix()), ("linear", "log"), VARIANTS):
        for options in ({"tol": 1e-3, "checkpoints": (1, 2)}, {"tol": "auto"}, {"unrolled": variant != "overrelaxed"}):
            emdref.sinkhorn(p, q, where, 3.0, max_iter=2, variant=variant, domain=domain, **options)
    for a, b in forms(p.dtype):
        emdref.sinkhorn(a, b, space, 3.0, max_iter=2, kernel="dense", dtype=None if np.ndim(a) > 1 else "bfloat16")
        emdref.sinkhorn(a, b, space, 3.0, max_iter=2, dtype="float32")
    emdref.certify_sinkhorn(p[0], q[0], space, 3.0).verify()
    emdref.certify_sinkhorn(p[0], q[0], space.distance_matrix(), 3.0)
    loop = partial(emdref.sinkhorn, space_or_cost=space, lam=3.0, max_iter=3)
    emdref.check_sinkhorn(lambda a, b: loop(a, b).value, space, 3.0, 3, dtype=p.dtype, cases="easy")


def one_pair(p, q, space):
    for mass in ("raise", "normalize", "ignore"):
        emdref.plan(p[0], q[0], space, mass=mass)
        emdref.certify(p[0], q[0], space, mass=mass).verify()
    for rho in (1, 2):
        emdref.barycenter(p, space, rho), exact.barycenter(p, space, rho)
    emdref.certify_barycenter(p[0], p, space).verify()
    for function in (exact.emd, exact.cost_grad, exact.flow, exact.grad, exact.hess):
        function(p[0], q[0], space)
    exact.hvp(p[0], q[0], space, p[0])
    emdref.check(lambda a, b: emdref.emd_value_and_grad(a, b, space), space, dtype=p.dtype, cases="easy")


def main():
    kernels = warming.loops()
    for compile_group in warming.GROUPS.values():
        compile_group()
    warmed = {name: list(map(str, x.signatures)) for name, x in kernels.items()}
    emdref.wordnet_tree()
    for dtype, space in product((np.float32, np.float64), SPACES):
        for calls in (exact_emd, all_pairs, layers_and_losses, entropic, one_pair):
            calls(histograms(dtype, 2), histograms(dtype, 3), space)
    for dtype in (np.float32, np.float64):
        exact_emd(histograms(dtype, 2), histograms(dtype, 3), emdref.Circle(SPACES[0].n_bins))
        for space, options in product((emdref.Chain(300), emdref.Chain(300).to_tree()), OPTIONS):
            emdref.emd_value_and_grad(np.ones(300, dtype), np.ones(300, dtype), space, **options)
    needed = {name: list(map(str, x.signatures)) for name, x in kernels.items()}
    print(json.dumps({name: [warmed[name], needed[name]] for name in kernels}))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # toys need not converge
        main()
