"""Pages of HTML from Jinja2's templates, which escape what they are given: one look for the report and for tables."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

FOLDER = Path(__file__).parents[1]  # of all templates


@lru_cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(FOLDER, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["maths"] = maths
    return found


def render(template: str, **values: Any) -> str:
    """A page from the template of that path in `analysis`."""
    return _environment().get_template(template).render(values)


def maths(text: str) -> Markup:
    """Powers above the line, and the few letters that have an index with it below.

    >>> maths("EMD^2 < EMD^ρ along e_k, in figure1_x")
    Markup('EMD² &lt; EMD<sup>ρ</sup> along e<sub>k</sub>, in figure1_x')
    """
    raised = re.sub(r"\^(\w+)", r"<sup>\1</sup>", str(escape(text.replace("^2", "²"))))
    return Markup(re.sub(r"\b([eTW])_(\w{1,2})\b", r"\1<sub>\2</sub>", raised))


def table(title: str, rows: pd.DataFrame) -> str:
    """A table as a page of its own, four digits of each number."""
    body = rows.to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format)
    return render("engine/table.html.j2", title=title, table=Markup(body))
