"""Slides: what plans are good for: mass on its way between histograms, and words of two sentences that are matched.

*Interpolation* (Courty et al. 2018 on the slides): of the plan between two histograms on a chain, each entry T_ij is a
share t of the way from bin i to bin j; between two bins it is split between them, so that its centre is right.  Beside
it the mixture (1 - t) p + t q, which is the way of the L2 distance.  `emdref.plan` lets stay what can stay, so that
this is the usual displacement interpolation where p and q have no bin in common, as here.

*EMD pooling* (Kumar et al. 2017 on the slides): the plan between the words of a model answer and those of a student's.
Theirs are states of a network; ours are nouns at the leaves of the WordNet tree, the mass of each its share of the
sentence, and distances are hops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

import emdref
from analysis.engine import style
from analysis.engine.cells import Cell, Rows
from analysis.engine.claims import FINDING, Claim, Exact, Missing
from analysis.engine.reproduction import exact
from analysis.engine.script import Options, must
from emdref.spaces.wordnet import wordnet_rows

PNG = True
DTYPES = ("float64",)
N, TIMES = 192, (0.0, 0.25, 0.5, 0.75, 1.0)
ENDS = ((20, 16), (156, 32))  # of p and q the centre, and the bins from there to the first empty one
COARSE = 4  # bins that are drawn as one: the plan of single bins leaves gaps between them
PRINTED = 1e-8  # tables keep nine digits
MODEL = {"tabby": 1, "beagle": 1, "robin": 1, "school bus": 1}  # how often it is said
STUDENTS = {  # "A Persian and an Egyptian cat, two bassets ..."; "Two laptops, a printer ... on a volcano"
    "good": {"Persian cat": 1, "Egyptian cat": 1, "basset": 2, "goldfinch": 2, "minivan": 1, "pickup": 1},
    "poor": {"laptop": 2, "printer": 1, "teapot": 2, "violin": 1, "banana": 1, "volcano": 1},
}
KINDS = exact("kind", "t", "bin", "moved", "mixed", "answer", "word", "to", "mass", "distance")
CAPTIONS = {
    "": "From p to q (grey), mass of the plan is a share t of its way (left), where the mixture of p and q only fades "
    "from one to the other (right). The EMD from p grows by the same amount in both: it sees how far mass must go, "
    "and not its shape.",
    "_pooling": "The plan between the nouns of a model answer, “A tabby, a beagle, a robin and a school bus”, and "
    "those of a good and a poor answer: darker cells carry more mass, numbers are hops in WordNet's tree. Both plans "
    "move all of the mass, and what tells the answers apart is how far.",
}


def cells(options: Options) -> list[Cell]:
    """The frames, and the words."""
    return [Cell(f"{__name__}:frames"), Cell(f"{__name__}:words")]


def frames() -> Rows:
    """One row a bin and share of the way."""
    p, q = (triangle(*end) for end in ENDS)
    plan = emdref.plan(p, q, emdref.Chain(N)).tocoo()
    return [
        {"kind": "frame", "t": t, "bin": k, "moved": moved[k], "mixed": (1 - t) * p[k] + t * q[k]}
        for t in TIMES
        for moved in [on_its_way(plan.row, plan.col, plan.data, t)]
        for k in range(N)
    ]


def triangle(centre: int, width: int) -> np.ndarray:
    """A bump of unit mass, in whole shares of width squared."""
    return np.maximum(width - abs(np.arange(N) - centre), 0) / width**2


def on_its_way(start: np.ndarray, end: np.ndarray, mass: np.ndarray, t: float) -> np.ndarray:
    """Where the mass of a plan is after a share t of its way."""
    place = (1 - t) * start + t * end
    before = np.floor(place).astype(int)
    beyond = place - before
    moved = np.bincount(before, mass * (1 - beyond), N + 1) + np.bincount(before + 1, mass * beyond, N + 1)
    return moved[:N]


def words() -> Rows:
    """One row a pair of words."""
    rows: Rows = []
    for answer, student in STUDENTS.items():
        vocabulary = [*MODEL, *student]
        tree = emdref.wordnet_tree().restrict(wnids(vocabulary))  # whose bins have the order of the words
        p, q = (np.array([said.get(word, 0) for word in vocabulary]) / sum(said.values()) for said in (MODEL, student))
        plan, distance = emdref.plan(p, q, tree).toarray(), tree.distance_matrix()
        rows += [
            {"kind": "word", "answer": answer, "word": word, "to": other, "mass": plan[at], "distance": distance[at]}
            for word in MODEL
            for other in student
            for at in [(vocabulary.index(word), vocabulary.index(other))]
        ]
    return rows


def wnids(nouns: Sequence[str]) -> list[str]:
    """Of leaves, by the first of their names."""
    leaves = set(emdref.wordnet_tree().bin_labels)
    known = {row["label"].split(",")[0]: row["wnid"] for row in wordnet_rows() if row["wnid"] in leaves}
    return [known[noun] for noun in nouns]


def _frame(table: pd.DataFrame, column: str) -> np.ndarray:
    """By time and bin."""
    return table[table.kind == "frame"].pivot(index="t", columns="bin", values=column).to_numpy()


def _answer(table: pd.DataFrame, answer: str, column: str = "mass") -> pd.DataFrame:
    """By word of the model answer and of the student's, in the order of the sentences."""
    rows = table[table.answer == answer].pivot(index="word", columns="to", values=column)
    return rows.loc[list(MODEL), list(STUDENTS[answer])]


def _costs(table: pd.DataFrame) -> dict[str, float]:
    """Hops that the words of each answer are away from those of the model answer."""
    words = table[table.kind == "word"]
    return (words.mass * words.distance).groupby(words.answer).sum().to_dict()


def _ways(table: pd.DataFrame, column: str) -> np.ndarray:
    """The EMD of each frame from p, a share of that between p and q."""
    rows, chain = _frame(table, column), emdref.Chain(N)
    ways = emdref.emd(np.broadcast_to(rows[0], rows.shape), rows, chain, mass="normalize")
    return ways / ways[-1]


def check(table: pd.DataFrame) -> None:
    """Frames lead from p to q, and the plans' sums are the sentences."""
    moved, mixed = (_frame(table, column) for column in ("moved", "mixed"))
    must(np.allclose(moved.sum(1), 1, rtol=0, atol=N * PRINTED), "a frame makes or loses mass")
    must(np.allclose(moved[[0, -1]], mixed[[0, -1]], rtol=0, atol=PRINTED), "the frames do not lead from p to q")
    for answer, student in STUDENTS.items():
        plan = _answer(table, answer)
        for sums, said in ((plan.sum(axis=1), MODEL), (plan.sum(axis=0), student)):
            share = np.array(list(said.values())) / sum(said.values())
            must(np.allclose(sums, share, rtol=0, atol=PRINTED), f"the plan of the {answer} answer has other sums")


def claims(table: pd.DataFrame) -> list[Claim]:
    """What the slides show of both uses, and what EMD sees of them."""
    moved, mixed = (_frame(table, column) for column in ("moved", "mixed"))
    between = (mixed[0] == 0) & (mixed[-1] == 0)
    half = TIMES.index(0.5)
    shares = [rows[half][between].sum() for rows in (moved, mixed)]
    ways = {name: _ways(table, name) for name in ("moved", "mixed")}
    costs = _costs(table)
    sums = [_answer(table, answer).to_numpy().sum() for answer in STUDENTS]
    return [
        Claim(
            "slides",
            "(Courty et al. 2018) interpolated by a plan, mass moves; by the L2 distance, one end fades into the other",
            "the share of the mass, half way, that is where neither p nor q has any",
            Exact(bool(shares[0] > 0.5 and shares[1] == 0)),
            f"{shares[0]:.0%} by the plan, {shares[1]:.0%} by the mixture",
        ),
        Claim(
            "slides",
            "the EMD does not tell the two ways apart: from p both are as far at each time",
            "EMD from p over that from p to q, and t, at every frame",
            Exact(all(np.allclose(way, TIMES, rtol=0, atol=N * PRINTED) for way in ways.values())),
            "; ".join(f"{name} {', '.join(f'{x:g}' for x in way.round(6))}" for name, way in ways.items()),
            about=FINDING,
        ),
        Claim(
            "slides",
            "(Kumar et al. 2017) a good answer shows large values of T_ij in many cells, a bad one small values",
            "the entries of T for graded answers",
            Missing("their answers and the states of their trained network are not at hand"),
            sheet="_pooling",
        ),
        Claim(
            "slides",
            "all plans between sentences carry the same mass; what tells a poor answer from a good one is its distance",
            "the sums of both plans, and their costs in hops",
            Exact(bool(np.allclose(sums, 1, rtol=0, atol=PRINTED) and costs["good"] < costs["poor"])),
            f"good {costs['good']:g} hops, poor {costs['poor']:g}",
            about=FINDING,
            sheet="_pooling",
        ),
    ]


def draw(table: pd.DataFrame):
    """Frames on one sheet, words on the other."""
    return {"": _draw_frames(table), "_pooling": _draw_words(table)}


def _draw_frames(table: pd.DataFrame):
    fig, axes = style.figure(4.2, len(TIMES), 2, sharex=True, sharey=True)
    ends, places = _frame(table, "mixed")[[0, -1]], np.arange(0, N, COARSE) + (COARSE - 1) / 2

    def drawn(row: np.ndarray) -> np.ndarray:
        return row.reshape(-1, COARSE).sum(axis=1)

    for column, (name, title, colour) in enumerate(
        (("moved", "by the plan", style.BLUE), ("mixed", "mixture", style.ORANGE))
    ):
        for t, row, axis in zip(TIMES, _frame(table, name), axes[:, column], strict=True):
            for end in ends:
                axis.step(places, drawn(end), where="mid", color=style.GREY, linewidth=0.6)
            axis.bar(places, drawn(row), COARSE, color=colour)
            axis.grid(visible=False)
            axis.set(yticks=[0, 0.2], xlim=(-0.5, N - 0.5))
            axis.text(0.98, 0.9, f"t = {t:g}", transform=axis.transAxes, ha="right", va="top")
        axes[0, column].set_title(title)
        axes[-1, column].set(xlabel="bin", xticks=range(0, N, 50))
    axes[len(TIMES) // 2, 0].set_ylabel(f"mass in {COARSE} bins")
    return fig


def _draw_words(table: pd.DataFrame):
    fig, axes = style.figure(4.4, 2)
    largest = table.mass.max()
    costs = _costs(table)
    for axis, answer in zip(axes, STUDENTS, strict=True):
        plan, hops = _answer(table, answer), _answer(table, answer, "distance")
        picture = axis.imshow(plan, cmap="Blues", vmin=0, vmax=largest, aspect="auto")
        for i, j in np.ndindex(plan.shape):
            colour = "white" if plan.iloc[i, j] > 0.6 * largest else style.BLACK
            axis.text(j, i, f"{hops.iloc[i, j]:g}", ha="center", va="center", color=colour, fontsize=6.5)
        axis.set_xticks(range(plan.shape[1]), plan.columns, rotation=25, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(plan.shape[0]), plan.index)
        axis.grid(visible=False)
        axis.tick_params(length=0)
        axis.set_title(f"a {answer} answer: {costs[answer]:.3g} hops", loc="left")
    fig.colorbar(picture, ax=list(axes), label="mass T", shrink=0.6, aspect=30)
    return fig
