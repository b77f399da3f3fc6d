"""How figures look: column widths, fonts, colours that colour-blind readers can tell apart (Okabe and Ito 2008)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, NullFormatter

COLUMN = 3.4  # inches, the width of every figure: nothing becomes smaller in a paper or on a phone
SMALLEST = 6.0  # points
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

_RC = {
    "font.size": 7,
    "figure.titlesize": 8,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
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


def _own_fonts() -> None:
    """Take DejaVu from Matplotlib alone: a system's may number glyphs otherwise, and no picture would repeat."""
    fonts = font_manager.fontManager
    fonts.ttflist = [font for font in fonts.ttflist if not font.name.startswith("DejaVu")]
    for path in sorted(Path(mpl.get_data_path(), "fonts", "ttf").glob("DejaVu*.ttf")):
        fonts.addfont(path)


_own_fonts()


def context() -> Any:
    """Matplotlib settings of all figures."""
    return mpl.rc_context(_RC)


def figure(height: float, rows: int = 1, columns: int = 1, **kwargs: Any) -> tuple[Figure, Any]:
    """A picture of so many inches in height and its axes, without pyplot's global state."""
    picture = Figure(figsize=(COLUMN, height))
    return picture, picture.subplots(rows, columns, **kwargs)


def log_axis(axes: Any, which: str) -> None:
    """A logarithmic x or y axis; its labels have no letters above the line, which are smaller than the others."""
    getattr(axes, f"set_{which}scale")("log")
    plain_ticks(axes, which)


def plain_ticks(axes: Any, which: str) -> None:
    """Labels 0.01, 1, 1,000, and 10⁻⁶ beyond."""
    axis = getattr(axes, f"{which}axis")
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axis.set_minor_formatter(NullFormatter())


def power(value: float) -> str:
    """As an axis says it.

    >>> [power(x) for x in (0.0, 0.01, 3.0, 1000.0, 1e6, -1e-5, 2e7)]
    ['0', '0.01', '3', '1,000', '10⁶', '-10⁻⁵', '2·10⁷']
    """
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:,g}"
    digits, exponent = f"{value:.6e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    number = f"{float(digits):g}"
    return {"1": f"10{raised}", "-1": f"-10{raised}"}.get(number, f"{number}·10{raised}")


def _settle(figure: Figure) -> None:
    """Lay the figure out once and round the places: the solver's last bits differ from run to run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.get_axes():
        axes.set_position([round(x, 6) for x in axes.get_position().bounds])


def _readable(figure: Figure) -> None:
    """Refuse what cannot be read at column width."""
    if figure.get_size_inches()[0] > COLUMN:
        raise AssertionError(f"a figure is {figure.get_size_inches()[0]:g} in wide, more than {COLUMN}")
    for text in figure.findobj(Text):
        words = text.get_text().strip()
        if words and text.get_visible() and (text.get_fontsize() < SMALLEST or "$" in words):
            raise AssertionError(f"{words[:40]!r} has letters below {SMALLEST:g} points")


def save(picture: Figure, stem: Path, *, png: bool) -> None:
    """Write stem.svg, and stem.png for the README; the same picture gives the same files."""
    _settle(picture)
    _readable(picture)
    for suffix in (".svg", ".png")[: 2 if png else 1]:
        part = stem.with_name(f".{stem.name}.{os.getpid()}{suffix}")
        picture.savefig(part, dpi=300, metadata={"Date": None} if suffix == ".svg" else {"Software": None})
        part.replace(stem.with_suffix(suffix))


def letter(axes: Any, text: str, title: str) -> None:
    """Panel letter and title."""
    axes.set_title(f"({text}) {title}", loc="left")
