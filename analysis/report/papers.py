"""What the papers and the slides hold, and what here shows each: ``papers.csv``, a line an item.

Figures and tables are shown by scripts, equations and algorithms are computed by functions of emdref.  Whether an item
is reproduced, simulated or missing follows from the results that there are; what nothing shows says why.  Claims come
with the results; the lines without a part are sentences that no result speaks of.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

ARXIV, ICML, SLIDES = "arXiv 1611.07573", "ICML 2016", "slides"
FILE = Path(__file__).with_name("papers.csv")


class Item(NamedTuple):
    """A figure, a table, an equation, a slide, or a sentence."""

    paper: str
    part: str  # the heading that it stands under; "" of a sentence that no result speaks of
    name: str  # as claims name their place, "Fig. 1"
    what: str
    scripts: list[str]  # that show it
    functions: list[str]  # of emdref that compute it
    errata: list[str]  # numbers, by the page of errata
    note: str  # of what nothing shows: why


class Paper(NamedTuple):
    """A source of items and claims."""

    source: str  # as claims begin
    title: str
    link: str = ""


class StandIn(NamedTuple):
    """What a script has instead of the paper's data."""

    words: str
    apart: tuple[str, ...] = ()  # claims that need no data, as they begin


PAPERS = (
    Paper(
        ARXIV,
        "Relaxed Earth Mover's Distances for Chain- and Tree-connected Spaces and their use as a Loss Function in Deep "
        "Learning",
        "https://arxiv.org/abs/1611.07573",
    ),
    Paper(
        ICML,
        "A Closed-form Gradient for the 1D Earth Mover's Distance for Spectral Deep Learning on Biological Data",
    ),
    Paper(SLIDES, "The Wasserstein Distance as a Loss Function in Deep Learning"),
)

STAND_INS = {
    "icml_figure1": StandIn(
        "The recordings of the sleep laboratory (81 patients) are not published. A simulated cohort of sleepers stands "
        "in, or the recordings that --records names."
    ),
    "figure6_breathing": StandIn(
        "The recordings of the sleep laboratory (75 patients) are not published. A simulated cohort of sleepers stands "
        "in, or the recordings that --records names."
    ),
    "figure7_hierarchy": StandIn(
        "No ImageNet images and no GPU for AlexNet are at hand. Simulated features of WordNet's 1000 classes stand in, "
        "and two small real data sets: leaves of 100 plants, and digits. Each claim is judged on all three.",
        apart=("the relaxed EMD² has a computational complexity equivalent to EMD's",),
    ),
    "slides_svm": StandIn("Cuturi's images of digits are not at hand. The smaller ones of scikit-learn stand in."),
    "slides_plans": StandIn(
        "The images and the graded answers of the papers that the slides show are not at hand. Two histograms and "
        "three sentences of our own stand in."
    ),
}


@lru_cache
def items() -> tuple[Item, ...]:
    """All lines of the table."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            Item(
                row["paper"],
                row["part"],
                row["item"],
                row["what"],
                row["scripts"].split(),
                [each.strip() for each in row["functions"].split(";") if each],
                row["errata"].split(),
                row["note"],
            )
            for row in csv.DictReader(file)
        )
