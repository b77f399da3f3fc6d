"""What pages point at is there."""

import ast
import csv
import inspect
import re
from pathlib import Path

import page_code
import pytest

import emdref

ROOT = Path(emdref.__file__).parents[1]
FOLDERS = ("docs", "tests", "analysis", "emdref")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


def links(page):
    """The targets of links and pictures outside code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    return [x for x in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in x and not x.startswith("mailto:")]


def anchors(page):
    """What headings are called in links to them, and what has a name of its own."""
    text = page.read_text("utf-8")
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", x.lower()).replace(" ", "-") for x in heads} | set(re.findall(r'id="([^"]+)"', text))


@pytest.mark.skipif(not (ROOT / "figures").exists(), reason="an sdist holds no figures")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.skipif(not (ROOT / "figures").exists(), reason="an sdist holds no figures")
def test_the_page_on_sinkhorn_has_the_figures_numbers():
    """Its table of lambdas is that of figures/sinkhorn_limits_table.csv."""
    page = (ROOT / "docs" / "howto" / "sinkhorn.md").read_text("utf-8")
    block = re.search(r"<!-- limits: begin -->\n(.*?)<!-- limits: end -->", page, re.DOTALL)[1]
    head, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
    table = (ROOT / "figures" / "sinkhorn_limits_table.csv").read_text("utf-8").splitlines()
    known = {}
    for row in csv.DictReader(table):
        least, most = (f"{round(float(x), 1):g}" if (x := row[f"value_most_{end}"]) else "" for end in ("from", "to"))
        said = "none" if not least else least if least == most else f"{least} to {most}"
        known.setdefault((f"{row['dtype']}, {row['domain']}", row["cap"]), set()).add(said)
    assert len(lines) == 4
    for name, *cells in lines:
        for cap, cell in zip(head[1:], cells, strict=True):
            assert known.get((name, cap.split()[0]), {"not tried"}) == {cell}, (name, cap)


def test_all_code_on_pages_is_run():
    """What is no doctest: by tests/losses; tests of one's own, by tests/proof/test_pytest_plugin.py."""
    assert all(page_code.pages(library) for library in page_code.LIBRARIES)
    left = [code for page in PAGES if page_code.DOCS in page.parents for code, _ in page_code.blocks(page, None)]
    assert len(left) == 1 and "def test_mine(emd_case)" in left[0], left


def test_links_are_found():
    assert len(links(ROOT / "README.md")) > 8


def test_the_page_on_pypi_has_no_link_to_a_file():
    """Nothing lies beside it there."""
    assert links(ROOT / "packaging" / "description.md") == []


MODULES = ("", "exact", "losses", "normalize", "torch", "jax")


def public(module):
    """The names of a module's functions and classes; some modules cannot be imported everywhere."""
    folder = ROOT / "emdref"
    path = next(x for x in (folder / f"{module}.py", folder / module / "__init__.py") if x.exists())
    text = path.read_text("utf-8")
    names = ast.literal_eval(re.search(r"__all__ = (\[.*?\])", text, re.DOTALL).group(1))
    return [name for name in names if not (module == "" and inspect.ismodule(getattr(emdref, name)))]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_page(module):
    shown = re.findall(
        r"^   ([\w.]+)$", (ROOT / "docs" / "lookup" / "api" / "index.md").read_text("utf-8"), re.MULTILINE
    )
    assert {f"{module}.{name}".lstrip(".") for name in public(module)} <= set(shown)


@pytest.mark.parametrize("module", ["", "exact", "losses"])
def test_every_public_docstring_has_its_equation(module):
    place = getattr(emdref, module) if module else emdref
    assert [name for name in public(module) if ".. math::" not in getattr(place, name).__doc__] == []
