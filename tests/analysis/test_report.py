"""The report: the committed page, the map of the papers, and folders that hold less, or something odd."""

import doctest
import inspect
import json
import re
from functools import reduce
from html.parser import HTMLParser
from itertools import pairwise

import pytest

import emdref
from analysis import __main__ as command
from analysis.catalogue import NAMES
from analysis.engine import claims, pages
from analysis.engine.script import Result
from analysis.report import page, papers

FIGURES = page.ROOT / "figures"
HERE = pytest.mark.skipif(not FIGURES.exists(), reason="an sdist holds no figures")
VOID = {"meta", "img", "br", "hr", "input", "link", "line", "circle"}
LOADING = {"src", "srcset", "poster", "data", "action", "background"}


class Element:
    """A tag with its attributes, and the text from its beginning to its end."""

    def __init__(self, tag, attributes, said):
        self.tag, self.attributes, self.said = tag, attributes, said
        self.first = self.last = len(said)

    def get(self, name, otherwise=None):
        return self.attributes.get(name, otherwise)

    @property
    def text(self):
        return words("".join(self.said[self.first : self.last]))


class Page(HTMLParser):
    """Elements in order, and what is wrong with their nesting."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.wrong, self.said = [], [], [], []
        self.feed(re.sub(r'"data:image/[^"]*"', '"data:image/"', text))
        self.close()
        self.wrong += [element.tag for element in self.open]

    def handle_starttag(self, tag, attributes):
        self.found.append(Element(tag, dict(attributes), self.said))
        if tag not in VOID:
            self.open.append(self.found[-1])

    def handle_endtag(self, tag):
        if tag not in VOID:
            if not self.open or self.open[-1].tag != tag:
                self.wrong.append(tag)
            else:
                self.open.pop().last = len(self.said)

    def handle_data(self, data):
        self.said.append(data)

    def all(self, tag, **attributes):
        return [x for x in self.found if x.tag == tag and attributes.items() <= x.attributes.items()]

    def at(self, name):
        (element,) = [x for x in self.found if x.get("id") == name]
        return element.text


def words(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def committed():
    entries, damaged = page.read(FIGURES)
    assert not damaged
    text = (FIGURES / page.NAME).read_text("utf-8")
    return entries, text, Page(text)


def folder(where, name="slides", **changed):
    """A result as a run leaves it, with one claim."""
    claim = {
        "source": "slides", "claimed": 'a < b & "c"', "kind": "exact", "contrast": "<i>both</i>", "found": "1 < 2",
        "verdict": "holds", "why": "", "about": "paper", "sheet": "", "numbers": {},
    } | changed.pop("claim", {})  # fmt: skip
    record = {"script": name, "toy": False, "seed": 7, "captions": {"": "<b>One</b>. Two."}, "claims": [claim]}
    (where / f"{name}.json").write_text(json.dumps(record | changed), "utf-8")
    (where / f"{name}.csv").write_text("a\n1\n")
    (where / f"{name}.svg").write_text('<svg width="72pt" height="36pt"><g fill="#fff"/></svg>')
    return where


def made(where):
    return page.write(where, *page.read(where))


@HERE
def test_the_committed_page_is_what_the_committed_results_give(committed):
    entries, text, _ = committed
    assert page.build(entries, []) == text, "make it again: python -m analysis report"
    assert len(text.encode()) < 6e6


@HERE
def test_every_claim_stands_with_its_verdict_and_numbers(committed):
    entries, _, found = committed
    texts = {x.get("id"): x.text for x in found.all("li") if x.get("id")}
    count = 0
    for name in NAMES:
        path = FIGURES / f"{name}.json"
        for number, claim in enumerate(json.loads(path.read_text("utf-8"))["claims"] if path.exists() else [], 1):
            text = texts.pop(f"{name}-{number}")
            for key in ("verdict", "claimed", "found", "why", "contrast"):
                assert words(claim[key]) in text, (claim, key)
            count += 1
    assert not texts
    assert count == sum(len(entry.shown) for entry in entries) > 200


@HERE
def test_every_sheet_has_its_picture_and_caption_and_every_link_leads_somewhere(committed):
    entries, _, found = committed
    captions = [caption for entry in entries for caption in entry.record["captions"].values()]
    assert [x.text for x in found.all("figcaption")] == list(map(words, captions))
    pictures = found.all("img")
    assert len(pictures) == len(captions)
    assert all(x.get("alt") and int(x.get("width")) and x.get("src") == "data:image/" for x in pictures)
    names = [x.get("id") for x in found.found if x.get("id")]
    assert len(names) == len(set(names))
    links = [x.get("href") for x in found.all("a")]
    for link in links:
        target, _, anchor = link.partition("#")
        assert target.startswith("https://arxiv.org/") or anchor in names or (FIGURES / target).is_file(), link
    for entry in entries:
        assert {f"{entry.name}.csv", f"{entry.name}.json", entry.script.target} <= set(links)
    assert {path.name for path in FIGURES.glob("*.html")} - {page.NAME} <= set(links)


@HERE
def test_the_page_is_whole_and_loads_nothing(committed):
    _, text, found = committed
    assert found.wrong == []
    assert not found.all("script") and not found.all("link") and not found.all("iframe")
    assert not any(x.get(name, "data:").startswith(("http", "/", "file")) for x in found.found for name in LOADING)
    assert not re.search(r"@import|url\((?!%23|#)", re.sub(r'"data:[^"]*"', "", text))
    assert found.all("html", lang="en") and found.all("meta", name="viewport") and len(found.all("h1")) == 1
    levels = [int(x.tag[1]) for x in found.found if re.fullmatch(r"h\d", x.tag)]
    assert all(b <= a + 1 for a, b in pairwise(levels))


@HERE
def test_tally_counts_what_a_run_says(committed, capsys):
    results = {entry.name: Result([each.claim for each in entry.shown], "") for entry in committed[0]}
    command._print_claims(results, False, FIGURES)
    said = dict(re.findall(r"^([^:\n]+): ((?:\d+ [a-z ]+(?:, )?)+)$", capsys.readouterr().out, re.MULTILINE))
    rows = {}
    for row in re.findall(r"<tr.*?</tr>", committed[1].partition('id="map"')[0]):
        cells = Page(row)
        rows.setdefault(cells.all("th")[0].text.lower(), [int(x.text) for x in cells.all("td")])
    for source, tally in said.items():
        counts = [int(x) for x in re.findall(r"\d+", tally)]
        row = rows[re.sub(", abstract$", "", source.lower()) if "20" in source else source.lower()]
        assert [x for x in row if x] == counts, source
    assert len(said) > 20


def test_the_map_has_every_numbered_item_and_functions_that_there_are():
    items = papers.items()
    named = {(item.paper, item.name) for item in items}
    wanted = [(papers.ARXIV, f"Fig. {n}") for n in range(1, 8)] + [(papers.ARXIV, f"Eq. {n}") for n in range(1, 16)]
    wanted += [(papers.ARXIV, "Table 1"), (papers.ARXIV, "Alg. 1"), (papers.ICML, "Fig. 1")]
    wanted += [(papers.ICML, f"Eq. {n}") for n in range(1, 7)]
    assert set(wanted) <= named
    numbers = {str(row[0]) for row in page.errata()}
    for item in items:
        assert set(item.scripts) <= set(NAMES), item
        assert set(item.errata) <= numbers or not page.ERRATA.exists(), item
        assert bool(item.note) != bool(item.scripts or item.functions), item
        for call in item.functions:
            name, _, options = call.partition("(")
            function = reduce(getattr, name.split("."), emdref)
            function = function.__init__ if inspect.isclass(function) else function
            for option in re.findall(r"\w+(?==)|^\w+(?=\)$)", options):
                assert option in inspect.signature(function).parameters, call


@HERE
def test_the_map_knows_the_places_of_all_claims(committed):
    entries, _, _ = committed
    known = {f"{item.paper}, {item.name}" for item in papers.items()}
    shown = [each for entry in entries for each in entry.shown if each.claim.about == claims.PAPER]
    assert {x.claim.source for x in shown if re.search(r"(arXiv|ICML).*(Fig|Table)", x.claim.source)} <= known
    for name, stands_in in papers.STAND_INS.items():
        for start in stands_in.apart:
            assert any(
                x.script == name and x.claim.claimed.startswith(start) and x.status == "reproduced" for x in shown
            )
    assert {x.status for x in shown if x.script == "figure6_breathing"} == {"simulated"}


def test_a_folder_with_one_odd_result(tmp_path):
    path = made(folder(tmp_path, toy=True))
    text = path.read_text("utf-8")
    found = Page(text)
    assert found.wrong == []
    assert 'a < b & "c"' in found.at("slides-1") and "<i>both</i>" in found.at("slides-1")
    assert "a &lt; b &amp;" in text and "<b>" not in text
    assert "src=\"data:image/svg+xml,%3Csvg width='72pt' height='36pt'%3E%3Cg fill='%23fff'/%3E%3C/svg%3E\"" in text
    assert "toy size" in found.all("header")[0].text and "seed 7" in found.all("main")[0].text
    for group, missing in (("papers", "figure1_ellyvan"), ("benchmarks", "gpu"), ("training", "figure7_hierarchy")):
        assert missing in found.at(f"group-{group}").partition("Missing in this folder:")[2]
    rows = [Page(row) for row in re.findall(r"<tr>.*?</tr>", text.partition('id="map"')[2], re.DOTALL)]
    states = {row.all("th")[0].text: row.all("td")[1].text for row in rows if row.all("td")}
    assert (states["Fig. 7"], states["Eq. 15"], states["Smoothness"]) == ("missing", "reproduced", "reproduced")
    assert not found.all("a", href="../analysis/figures/slides.py") and str(tmp_path) not in text
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert made(tmp_path) == path and before == (path.read_bytes(), path.stat().st_mtime_ns)


DAMAGED = [
    "{", "[" * 100_000, '{"script": "slides", "claims": [{}]}', '{"script": "slides", "versions": 3}',
    '{"script": "slides", "captions": {"": 3}}', '{"script": "slides", "seed": "\\ud800"}',
]  # fmt: skip


@pytest.mark.parametrize("record", DAMAGED, ids=lambda record: record[:50])
def test_a_damaged_record_is_named_and_the_rest_is_there(record, tmp_path, capsys):
    folder(tmp_path, "figure1_ellyvan")
    (tmp_path / "slides.json").write_text(record)
    (tmp_path / "else.json").write_text("[1]")
    assert command.main(["report", "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "slides.json cannot be read as a record" in said[0]
    found = Page((tmp_path / page.NAME).read_text("utf-8"))
    assert "slides.json cannot be read" in found.all("header")[0].text
    assert "else.json" not in found.all("body")[0].text
    assert found.at("figure1_ellyvan-1")


@pytest.mark.parametrize("changed", [{"claimed": 3}, {"why": None}, {"source": ["slides"]}, {"numbers": {"low": "1"}}])
def test_a_damaged_claim_damages_its_record(changed, tmp_path):
    assert page.read(folder(tmp_path, claim=changed)) == ([], ["slides.json"])


def test_a_table_or_picture_that_is_gone_is_missed(tmp_path):
    folder(tmp_path)
    (tmp_path / "slides.csv").unlink()
    (tmp_path / "slides.svg").unlink()
    found = Page(made(tmp_path).read_text("utf-8"))
    assert "Not in this folder: slides.csv, slides.svg." in found.at("slides-script")
    assert not found.all("img") and not found.all("a", href="slides.csv")


def test_a_disk_that_is_full_leaves_the_old_page_and_nothing_else(tmp_path, monkeypatch):
    before = made(folder(tmp_path)).read_bytes()
    folder(tmp_path, seed=8)
    there = set(tmp_path.iterdir())

    def full(part, data):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page.Path, "write_bytes", full)
    assert command.main(["report", "--out", str(tmp_path)]) == 1
    assert set(tmp_path.iterdir()) == there and (tmp_path / page.NAME).read_bytes() == before


def test_commands(tmp_path, capsys):
    where = str(tmp_path)
    assert command.main(["report", "--out", where]) == 1
    assert f"{where} holds no results" in capsys.readouterr().err
    (tmp_path / "package.json").write_text('{"name": "of something else"}')
    assert command.main(["report", "--out", where]) == 1
    assert f"{where} holds no results" in capsys.readouterr().err and not (tmp_path / page.NAME).exists()
    folder(tmp_path)
    assert command.main(["report", "--out", where]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"The report: {tmp_path / page.NAME}"
    for asked in (["report", "slides"], ["report", "--seed", "1"]):
        with pytest.raises(SystemExit):
            command.main(asked)
        assert re.search("name it alone|unrecognized arguments: --seed", capsys.readouterr().err)


def test_a_run_ends_with_the_report_and_a_check_writes_none(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "_run", lambda asked, arguments: ({}, []))
    folder(tmp_path)
    assert command.main(["slides", "--check", "--out", str(tmp_path)]) == 0
    assert not (tmp_path / page.NAME).exists() and "report" not in capsys.readouterr().out
    assert command.main(["slides", "--redraw", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"The report: {tmp_path / page.NAME}"
    (tmp_path / page.NAME).unlink()
    (tmp_path / page.NAME).mkdir()
    assert command.main(["slides", "--out", str(tmp_path)]) == 1
    assert "the report cannot be written there" in capsys.readouterr().err


@pytest.mark.parametrize("module", [pages, page], ids=lambda module: module.__name__)
def test_examples(module):
    failed, tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert tried and not failed


def test_a_table_is_a_page_that_escapes(tmp_path):
    import pandas as pd

    found = Page(pages.table("a & b", pd.DataFrame({"x<y": [1.23456, None]})))
    assert found.wrong == []
    assert [x.text for x in found.all("h1") + found.all("th") + found.all("td")] == ["a & b", "x<y", "1.235", ""]
