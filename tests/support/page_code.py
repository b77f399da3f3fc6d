"""Python on the pages of docs/ that needs another library, and is therefore no doctest: found, run, and looked at."""

import contextlib
import io
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LIBRARIES = ("torch", "jax", "sklearn")
_BLOCK = re.compile(r"^```python\n(?!>>>)(.*?)^```$(?:\n+[^\n`]*(?:\n[^\n`]+)*\n+^```text\n(.*?)^```$)?", re.M | re.S)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def pages(library):
    """The pages with code for a library, by their paths in docs/."""
    return sorted(p.relative_to(DOCS).as_posix() for p in DOCS.glob("*/*.md") if any(True for _ in blocks(p, library)))


def blocks(page, library):
    """Code for a library on a page, and what it prints; for None what is for no library that is known here.

    A block that imports nothing belongs to the one before.
    """
    whose = None
    for code, printed in _BLOCK.findall(Path(page).read_text(encoding="utf-8")):
        if imports := " ".join(re.findall(r"^(?:from|import) .*", code, re.M)):
            whose = next((x for x in LIBRARIES if re.search(rf"\b{x}\b", imports)), None)
        if whose == library:
            yield code, printed


def run(page, library):
    """Run a page's code for a library, block by block, and compare what it prints with what the page says."""
    names = {}
    for code, expected in blocks(DOCS / page, library):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page, "exec"), names)
        printed = printed.getvalue()
        assert _NUMBER.sub("0", printed).split() == _NUMBER.sub("0", expected).split(), printed
        # last digits depend on the library's version and processor
        found, said = ([float(x) for x in _NUMBER.findall(text)] for text in (printed, expected))
        assert found == pytest.approx(said, rel=0.05), printed
    return names
