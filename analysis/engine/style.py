"""How figures look: column widths, fonts, colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

COLUMN, PAGE = 3.4, 7.1  # inches
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
GREY = "#7F7F7F"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
_SMALL, _LINE, _MARGIN = 6, 0.11, 0.06  # captions: points, inches a line, inches beside it

_RC = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "svg.hashsalt": "emdref",  # the same picture gives the same file
    "figure.constrained_layout.use": True,
}


def context() -> Any:
    """Matplotlib settings of all figures."""
    return mpl.rc_context(_RC)


class Page(Figure):
    """A picture with words below it, both over the full width."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height))
        self.rows = self.add_gridspec(2, 1, height_ratios=(1, 1e-9))
        self.picture, self.words = (self.add_subfigure(row) for row in self.rows)

    def caption(self, paragraphs: list[str]) -> None:
        """Make room for the paragraphs and put them there."""
        width, height = self.get_size_inches()
        lines = [line for text in paragraphs for line in _wrapped(text, 70 * (width - 2 * _MARGIN))]  # pixels round up
        room = _LINE * (len(lines) + 1)
        self.set_size_inches(width, height + room)
        self.rows.set_height_ratios((height, room))
        self.words.text(
            _MARGIN / width, 1, "\n".join(lines), va="top", fontsize=_SMALL, linespacing=1.3, parse_math=False
        )


def _wrapped(text: str, width: float) -> list[str]:
    """The text in lines of at most so many points."""
    font, lines = FontProperties(size=_SMALL), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and text_to_path.get_text_width_height_descent(longer, font, False)[0] > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> tuple[SubFigure, Any]:
    """A picture of that size and its axes, without pyplot's global state."""
    picture = Page(width, height).picture
    return picture, picture.subplots(rows, columns, **kwargs)


def _settle(figure: Figure) -> None:
    """Lay the figure out once and round the places: the solver's last bits differ from run to run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(6))
    for axes in figure.get_axes():
        axes.set_position([round(x, 6) for x in axes.get_position().bounds])


def save(picture: SubFigure, stem: Path, *, png: bool) -> None:
    """Write stem.svg, and stem.png for the README; the same picture gives the same files."""
    _settle(picture.figure)
    for suffix in (".svg", ".png")[: 2 if png else 1]:
        part = stem.with_name(f".{stem.name}.{os.getpid()}{suffix}")
        picture.figure.savefig(part, dpi=200, metadata={"Date": None} if suffix == ".svg" else {"Software": None})
        part.replace(stem.with_suffix(suffix))


def below(axis: Any, columns: int) -> None:
    """The legend under the axis' label, in small type."""
    axis.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=columns, fontsize=5.5, columnspacing=1.0)


def letter(axes: Any, text: str, title: str) -> None:
    """Panel letter and title."""
    axes.set_title(f"({text}) {title}", loc="left")
