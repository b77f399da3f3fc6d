"""How figures look: column widths, fonts, colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

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


def figure(width: float, height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> tuple[Figure, Any]:
    """A figure and its axes, without pyplot's global state."""
    fig = Figure(figsize=(width, height))
    return fig, fig.subplots(rows, columns, **kwargs)


def save(fig: Figure, stem: Path, *, png: bool) -> None:
    """Write stem.svg, and stem.png for the README."""
    for suffix in (".svg", ".png")[: 2 if png else 1]:
        part = stem.with_name(f".{stem.name}.{os.getpid()}{suffix}")
        fig.savefig(part, dpi=200, metadata={"Date": None} if suffix == ".svg" else {"Software": None})
        part.replace(stem.with_suffix(suffix))


def letter(axes: Any, text: str, title: str) -> None:
    """Panel letter and title."""
    axes.set_title(f"({text}) {title}", loc="left")
