"""Sinkhorn beside the exact EMD: what a cell of a stability sweep measures, on any chain or tree.

A space is named in one line, so that a cell can be stored and sent: ``wordnet``, ``chain:200``, ``circle:24``, or
``file:DIGEST:PATH`` for a tree file whose content has that digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import emdref
from analysis.engine.cells import Cell, Rows
from analysis.engine.reproduction import Rounding, exact, relative, sums
from analysis.engine.script import Options
from analysis.inputs import trees
from analysis.inputs.histogram_pairs import CLASSES, Group, Pairs, pairs
from analysis.sinkhorn.gradient_shapes import ARCCOS, angle

POTENTIAL = "potential"  # the gradient that Sinkhorn gives away: log u / lambda
WORDNET = "wordnet"
FUNCTION = f"{__name__}:measure"
DENSE_BINS = 4000  # above, a matrix of float64 takes more than 128 MB and a product more than the sweep's patience


def named(options: Options) -> str:
    """The space that the command line asks for."""
    if options.tree is not None:
        path = options.tree.resolve()
        try:
            tree = emdref.Tree.from_file(path)
        except (OSError, ValueError) as error:
            raise RuntimeError(f"--tree {error}") from None
        if tree.diameter == 0:
            raise RuntimeError(f"--tree {path}: all distances between its {tree.n_bins} bins are 0, and so is EMD")
        return f"file:{trees.digest(tree)}:{path}"
    if options.circle:
        return f"circle:{options.circle}"
    return f"chain:{options.chain}" if options.chain else WORDNET


@lru_cache(maxsize=2)
def space(name: str) -> emdref.Space:
    """The space of that name."""
    kind, _, rest = name.partition(":")
    if kind == WORDNET:
        return emdref.wordnet_tree()
    if kind == "chain":
        return emdref.Chain(int(rest))
    if kind == "circle":
        return emdref.Circle(int(rest))
    digest, _, path = rest.partition(":")
    tree = emdref.Tree.from_file(path)
    if trees.digest(tree) != digest:
        raise RuntimeError(f"{path} holds another tree than when the sweep was named")
    return tree


@lru_cache(maxsize=2)
def classes(name: str) -> tuple[int, ...] | None:
    """The bin of each ILSVRC class, None if the space's bins are not the 1000 classes by their wnids."""
    where, wanted = space(name), emdref.wordnet_tree().bin_labels
    if not isinstance(where, emdref.Tree):
        return None
    bin_of = {label: k for k, label in enumerate(where.bin_labels)}
    complete = where.n_bins == len(CLASSES) and set(wanted) == set(bin_of)
    return tuple(bin_of[label] for label in wanted) if complete else None


@lru_cache(maxsize=2)
def _setting(name: str, groups: tuple[Group, ...], seed: int) -> tuple[Pairs, NDArray[Any], NDArray[Any]]:
    """Pairs, their exact EMD and its zero-sum gradient."""
    where = space(name)
    batch = pairs(seed, where.n_bins, groups, classes(name))
    return (batch, *emdref.emd_value_and_grad(batch.p, batch.q, where))


def measure(
    space_name: str,
    groups: Sequence[Sequence[Any]],
    seed: int,
    lam: float,
    caps: Sequence[int],
    dtype: str = "float64",
    kernel: str = "dense",
    domain: str = "linear",
    variant: str = "paper",
    tol: float = 0.0,
    derivatives: bool = False,
) -> Rows:
    """A row a cap and pair: SD / EMD, the angle of log u / lam (its mean removed) to the EMD's gradient, the status.

    With `derivatives` the angles are those of the exact derivatives of the capped <T, M> and of the capped objective.
    """
    members = tuple(Group(*group) for group in groups)
    batch, *exact = _setting(space_name, members, seed)
    result = emdref.sinkhorn(
        batch.p,
        batch.q,
        space(space_name),
        lam,
        max_iter=max(caps),
        checkpoints=caps,
        tol=tol,
        variant=variant,
        kernel=kernel,
        domain=domain,
        dtype=dtype,
        unrolled=derivatives,
    )
    key = {"lam": lam, "dtype": dtype, "kernel": kernel, "domain": domain, "variant": variant}
    return [row for cap in caps for row in _rows(result.checkpoints[cap], batch, exact, {"cap": cap} | key)]


def _rows(result: emdref.SinkhornResult, batch: Pairs, exact: list[Any], key: dict[str, Any]) -> Rows:
    value, grad = exact
    unrolled = result.grad_unrolled
    kinds = {POTENTIAL: result.grad} if unrolled is None else unrolled._asdict()
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = result.value.astype(float) / value
        angles = {kind: _angle(found, grad) for kind, found in kinds.items()}
    return [
        {
            **key,
            "target": group.name(),
            "pair": i,
            "sd_over_emd": ratio[i],
            "gradient": kind,
            "angle_deg": found[i],
            "status": result.status[i],
            "failed_at": result.failed_at[i],
        }
        for kind, found in angles.items()
        for i, group in enumerate(batch.group)
    ]


def _angle(found: NDArray[Any], grad: NDArray[Any]) -> NDArray[Any]:
    own = found.astype(float)
    return angle(own - own.mean(axis=1, keepdims=True), grad)


def cell(where: emdref.Chain | emdref.Tree, **parameters: Any) -> Cell:
    """A call of `measure`, with a rough idea of the seconds it takes."""
    rows = sum(group[2] for group in parameters["groups"])
    steps = rows * max(parameters["caps"]) * (6 if parameters.get("derivatives") else 1)
    if parameters["kernel"] == "dense":
        seconds = steps * where.n_bins**2 * (1.7e-10 if parameters["dtype"] == "float64" else 1e-10)
    else:
        seconds = steps * where.n_nodes * (7e-8 if parameters["domain"] == "log" else 1e-8)
        hard = parameters["lam"] * where.diameter / (4000 if "variant" in parameters else 400)
        seconds *= min(1.0, 0.05 + hard) if parameters.get("tol") else 1.0  # many rows settle before the cap
    return Cell(FUNCTION, parameters, seconds)


# --- the sweep behind Figure 3 and the lambda-cap map ---

SIGMAS = (1.0, 2.0, 4.0)
CAPS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)
LATE = (2000, 5000, 10_000)
SETTLED = 1e-10  # marginal error at which the reference has nothing left to do
DIAMETER = 26.0  # of the WordNet tree, for which the lambdas below are meant
LAMBDAS = np.logspace(-1, 3, 17)
FAR = 100.0  # lambdas above are for the question what fails, which 100 iterations answer
LOW = ("tf32", "bfloat16", "float16")
REFERENCE = {"dtype": "float64", "kernel": "space", "domain": "log", "tol": SETTLED}  # Figure 3's
WAYS = (
    *({"dtype": dtype, "kernel": "dense", "domain": "linear"} for dtype in ("float64", "float32", *LOW)),
    *({"dtype": dtype, "kernel": "space", "domain": "linear"} for dtype in ("float64", "float32")),
    {"dtype": "float32", "kernel": "space", "domain": "log"},
    REFERENCE,
    REFERENCE | {"variant": "overrelaxed"},  # its limit
)
SHOWN = (10, 100, 1000, 10_000)  # the paper's caps
FIGURE, SECTION = "arXiv 1611.07573, Fig. 3", "arXiv 1611.07573, Sec. 2.3"
OWN = "found here, not in the papers"
LARGE = 20_000  # nodes from which fewer pairs and iterations must do


def lambdas(where: emdref.Chain | emdref.Tree, toy: bool) -> list[float]:
    """From 0.1 to 1000 per hop of the WordNet tree; for another diameter so that lam max(M) is the same."""
    scale = DIAMETER / where.diameter
    return [float(f"{lam * scale:.6g}") for lam in (LAMBDAS[::4] if toy else LAMBDAS)]


def groups(name: str, toy: bool) -> list[list[Any]]:
    """Softmax pairs of three spreads, one-hot targets and, for the 1000 classes, the ReaL label sets."""
    softmaxes, others = (1, 1) if space(name).n_nodes > LARGE else (2, 2) if toy else (8, 20)
    kinds = ("ReaL", "one-hot") if classes(name) else ("one-hot",)
    return [["softmax", sigma, softmaxes] for sigma in SIGMAS] + [[kind, 2.0, others] for kind in kinds]


def caps_of(way: dict[str, Any], where: emdref.Chain | emdref.Tree, toy: bool, far: bool) -> list[int]:
    """The iterations at which a way is looked at."""
    most = 1000 if "tol" not in way else LATE[-1]
    if "variant" in way:
        return [300 if where.n_nodes > LARGE else 1000 if toy else most]  # only its end is of interest
    if toy or far or way["dtype"] in LOW or where.n_nodes > LARGE:
        most = 100
    return [cap for cap in (*CAPS, *LATE) if cap <= most]


def sweep(name: str, options: Options) -> list[Cell]:
    """Every way at every lambda on the space of that name; dense matrices only where they have a chance."""
    return _grid(name, options, lambdas(space(name), options.toy), _ways(name))


def panels(name: str, options: Options) -> list[Cell]:
    """Of the sweep, what the paper's four panels show: the frameworks' way and the reference, as far as all caps go."""
    where, ways = space(name), _ways(name)
    framework = {"kernel": ways[0]["kernel"], "domain": "linear"}
    shown = [
        way for way in ways if way == REFERENCE or way in ({"dtype": t} | framework for t in ("float64", "float32"))
    ]
    return _grid(name, options, [lam for lam in lambdas(where, options.toy) if not _far(lam, where)], shown)


def _ways(name: str) -> list[dict[str, Any]]:
    return [way for way in WAYS if way["kernel"] == "space" or space(name).n_bins <= DENSE_BINS]


def _grid(name: str, options: Options, lams: Sequence[float], ways: Sequence[dict[str, Any]]) -> list[Cell]:
    where = space(name)
    common = {"space_name": name, "groups": groups(name, options.toy), "seed": options.seed}
    return [
        cell(where, **common, lam=lam, caps=caps_of(way, where, options.toy, _far(lam, where)), **way)
        for lam in lams
        for way in ways
    ]


def derivatives(name: str, options: Options) -> list[Cell]:
    """Exact derivatives of capped runs of the softmax pairs there, in float64 and the log domain."""
    where = space(name)
    pairs_of = [group for group in groups(name, options.toy) if group[0] == "softmax"]
    common = {"space_name": name, "groups": pairs_of, "seed": options.seed}
    common["caps"] = [10] if where.n_nodes > LARGE else [10, 100]
    way = {"dtype": "float64", "kernel": "space", "domain": "log", "derivatives": True}
    found = [lam for lam in lambdas(where, options.toy) if not _far(lam, where)]
    return [cell(where, **common, lam=lam, **way) for lam in found]


def _far(lam: float, where: emdref.Chain | emdref.Tree) -> bool:
    return lam * where.diameter > FAR * DIAMETER * 1.001


# --- by how much other machines' numbers may differ ---


def rounding(table: pd.DataFrame) -> Any:
    """Of log u and log v, absolute: each of the two updates of an iteration is a sum over at most all bins."""
    return sums(DENSE_BINS, 2 * (table.cap + 1), table.dtype)


KINDS = {
    **exact("cap", "lam", "dtype", "kernel", "domain", "variant", "target", "pair", "gradient", "status", "failed_at"),
    **relative("sd_over_emd", rounding, "each iteration rounds two sums over all bins, and <T, M> follows log u"),
    "angle_deg": Rounding(
        lambda table: np.degrees(rounding(table) / table.lam) + ARCCOS,
        "log u / lambda is rounded, and the gradient's root mean square is an edge or more",
    ),
}
