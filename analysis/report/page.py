"""The report, ``report.html``: from the records, tables and pictures of a folder, whatever there is of them.

The same files give the same bytes: nothing in it is of the moment or of the machine that makes it.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from markupsafe import Markup, escape

from analysis import catalogue
from analysis.engine import pages
from analysis.engine.claims import FINDING, PAPER, TARGET, UNDECIDED, UNMEASURED, VERDICTS, Judged, tally
from analysis.report import papers
from analysis.report.papers import PAPERS, SLIDES, STAND_INS, Item

NAME = "report.html"
TEMPLATE = "report/report.html.j2"
ROOT = Path(__file__).parents[2]
ERRATA = ROOT / "docs" / "understand" / "errata.md"
REPRODUCED, SIMULATED, MISSING = "reproduced", "simulated", "missing"
ABOUT = {PAPER: "The papers' claims", TARGET: "Our own targets", FINDING: "Our own findings"}
HEADINGS = {
    catalogue.PAPERS: "The papers' figures and tables",
    catalogue.TRAINING: "The papers' figures that train networks",
    catalogue.STUDIES: "Studies: what the papers leave open",
    catalogue.BENCHMARKS: "Benchmarks: time and memory",
    "": "Other results",
}
_FIELDS = {field.name for field in fields(Judged)}
_DROPPED = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL)


class Link(NamedTuple):
    """A file, as the report's folder sees it."""

    target: str
    words: str


class Picture(NamedTuple):
    """A sheet of a figure."""

    anchor: str
    source: Markup  # a data URI
    width: int
    height: int
    caption: str

    @property
    def alt(self) -> str:
        """What is drawn, for those who do not see it."""
        return first_sentence(self.caption)


class Bar(NamedTuple):
    """An interval, drawn from 0 to 100; marks are 0 or the bounds that were asked for."""

    low: float
    high: float
    middle: float | None
    marks: list[float]


@dataclass(frozen=True)
class Shown:
    """A claim where it stands in the report."""

    claim: Judged
    script: str
    anchor: str
    there: str  # the anchor of the sheet that it speaks of, or a file
    bar: Bar | None

    @property
    def status(self) -> str:
        """Whether the papers' own setting was there to judge it."""
        if self.claim.verdict == UNMEASURED:
            return MISSING
        stands_in = STAND_INS.get(self.script)
        return SIMULATED if stands_in and not self.claim.claimed.startswith(stands_in.apart or ("\0",)) else REPRODUCED


class Group(NamedTuple):
    """Claims of one kind or place, and how many have each verdict."""

    name: str
    shown: list[Shown]

    @property
    def tally(self) -> str:
        return tally([each.claim for each in self.shown])

    @property
    def counts(self) -> list[int]:
        return [sum(each.claim.verdict == verdict for each in self.shown) for verdict in VERDICTS]


class Row(NamedTuple):
    """An item of a paper in the map."""

    item: Item
    status: str
    scripts: list[tuple[str, bool]]  # and whether they are here
    claims: str


class Place(NamedTuple):
    """A place in a paper: what is claimed there, and what of it no result speaks of."""

    name: str
    claims: list[Shown]
    untested: list[Item]
    tally: str


@dataclass(frozen=True)
class Entry:
    """What a script has left in the folder."""

    name: str
    folder: Path
    record: Mapping[str, Any]

    @cached_property
    def title(self) -> str:
        return _title(self.name)

    @cached_property
    def shown(self) -> list[Shown]:
        judged = [_judged(claim) for claim in self.record.get("claims", [])]
        return [
            Shown(claim, self.name, f"{self.name}-{number}", self._there(claim.sheet), bar(claim.numbers))
            for number, claim in enumerate(judged, 1)
        ]

    @property
    def groups(self) -> list[Group]:
        """The papers' claims first, our own targets and findings apart."""
        found = [Group(words, [x for x in self.shown if x.claim.about == about]) for about, words in ABOUT.items()]
        return [group for group in found if group.shown]

    @cached_property
    def pictures(self) -> list[Picture]:
        captions = self.record.get("captions", {})
        found = (picture(self.folder / f"{self.name}{suffix}", caption) for suffix, caption in captions.items())
        return [each for each in found if each]

    @property
    def files(self) -> list[Link]:
        """Its tables and its record."""
        names = [f"{self.name}.csv", *(f"{stem}{end}" for stem in self._tables() for end in (".html", ".csv"))]
        return [Link(name, name) for name in [*names, f"{self.name}.json"] if (self.folder / name).exists()]

    @property
    def script(self) -> Link:
        """The program; a link where the report lies in the project."""
        try:
            path = catalogue.file(self.name)
        except StopIteration:
            return Link("", "")
        inside = self.folder.resolve().is_relative_to(ROOT)
        target = Path(os.path.relpath(path, self.folder.resolve())).as_posix() if inside else ""
        return Link(target, path.relative_to(ROOT).as_posix())

    @property
    def made(self) -> dict[str, str]:
        """How it was made, by what a reader asks first."""
        record = self.record
        versions = {**record.get("versions", {}), **record.get("frameworks", {}), **record.get("peers", {})}
        found = {
            "clips": record.get("clips"),
            "seed": record.get("seed"),
            "dtypes": _listed(record.get("dtypes", [])),
            "device": _listed([record.get("device"), record.get("processor"), record.get("vectors")]),
            "cores": record.get("cores"),
            "threads": record.get("threads"),
            "emdref": record.get("emdref"),
            "Python": record.get("python"),
            "versions": _listed(f"{name} {number}" for name, number in versions.items()),
            "code": record.get("code"),
            "date": record.get("date"),
            "note": record.get("made"),
        }
        return {words: str(value) for words, value in found.items() if value not in (None, "")}

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before the numbers."""
        toy = "Toy size: made in seconds to try the script, not to be cited."
        unfinished = "Unfinished: the run that measures was stopped; the same command measures again."
        lost = f"Not in this folder: {', '.join(self._lost())}."
        said = {toy: self.record.get("toy"), unfinished: "unfinished" in self.record, lost: self._lost()}
        return [words for words, holds in said.items() if holds]

    @property
    def stands_in(self) -> str:
        return STAND_INS[self.name].words if self.name in STAND_INS else ""

    def _there(self, sheet: str) -> str:
        if sheet in self.record.get("captions", {}):
            return f"#{self.name}{sheet}" if sheet else ""
        page = f"{self.name}{sheet}.html"
        return page if (self.folder / page).exists() else ""

    def _lost(self) -> list[str]:
        """The table and the pictures that the record speaks of and nobody finds."""
        drawn = {each.anchor for each in self.pictures}
        sheets = [f"{self.name}{suffix}" for suffix in self.record.get("captions", {})]
        lost = [f"{sheet}.svg" for sheet in sheets if sheet not in drawn]
        return [f"{self.name}.csv"] * (not (self.folder / f"{self.name}.csv").exists()) + lost

    def _tables(self) -> list[str]:
        own = {path.stem for path in self.folder.glob(f"{self.name}_*.csv")}
        longer = [name for name in catalogue.NAMES if name.startswith(f"{self.name}_")]
        return sorted(stem for stem in own if not any(f"{stem}_".startswith(f"{name}_") for name in longer))


def write(folder: Path, entries: list[Entry], damaged: list[str]) -> Path:
    """Make the report of what was read in the folder, as a whole or not at all."""
    path = folder / NAME
    data = build(entries, damaged).encode()
    if not path.exists() or path.read_bytes() != data:
        part = path.with_name(f".{NAME}.{os.getpid()}")
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def read(folder: Path) -> tuple[list[Entry], list[str]]:
    """All results of a folder, in the catalogue's order, and the records that cannot be read."""
    found, damaged = {}, []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(record, dict) and record.get("script") == path.stem:
                found[path.stem] = _readable(Entry(path.stem, folder, record))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            damaged.append(path.name)
    ranks = {name: rank for rank, name in enumerate(catalogue.NAMES)}
    return [found[name] for name in sorted(found, key=lambda name: (ranks.get(name, len(ranks)), name))], damaged


def _readable(entry: Entry) -> Entry:
    """Whether all of it can be shown is known before anything is."""
    if not all(map(_is_text, entry.record.get("captions", {}).values())):
        raise TypeError("a caption is text")
    json.dumps(entry.record, ensure_ascii=False).encode()  # halves of a character cannot be written
    _ = entry.shown, entry.made, entry.pictures
    return entry


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def build(entries: list[Entry], damaged: list[str]) -> str:
    """The page."""
    shown = [each for entry in entries for each in entry.shown]
    here = {entry.name: entry for entry in entries}
    return pages.render(
        TEMPLATE,
        title="emdref: what the papers show and claim, and what was found",
        verdicts=VERDICTS,
        tallies=tallies(shown),
        papers=[(each, _parts(each.source, here, shown), _places(each.source, shown)) for each in PAPERS],
        others=_elsewhere(shown),
        errata=errata(),
        proofs=ERRATA.relative_to(ROOT).as_posix(),
        sections=_sections(here),
        toy=any(entry.record.get("toy") for entry in entries),
        stand_ins=[(entry.name, entry.stands_in) for entry in entries if entry.stands_in],
        unmeasured=[each for each in shown if each.claim.verdict == UNMEASURED],
        undecided=[group for entry in entries if (group := _undecided(entry)).shown],
        damaged=damaged,
        legend=bar({"low": 1.0, "high": 2.0, "mean": 1.5}),
        no_device=catalogue.GPU not in here,
    )


def by_source(claims: Iterable[Any], sort: bool = False) -> list[Group]:
    """A group for each source of the papers' claims, then our own targets and our own findings."""
    every = [each if isinstance(each, Shown) else Shown(each, "", "", "", None) for each in claims]
    theirs = [each for each in every if each.claim.about == PAPER]
    sources = list(dict.fromkeys(each.claim.source for each in theirs))
    groups = [Group(short(source), [x for x in theirs if x.claim.source == source]) for source in sources]
    if sort:
        groups.sort(key=lambda group: _rank(group.shown[0].claim.source))
    own = [Group(ABOUT[about], [x for x in every if x.claim.about == about]) for about in (TARGET, FINDING)]
    return groups + [group for group in own if group.shown]


def tallies(shown: list[Shown]) -> list[tuple[Group, list[Group]]]:
    """For each paper all of its claims, then those of each place; then our own."""
    found: dict[str, list[Group]] = {}
    for group in by_source(shown, sort=True):
        claim = group.shown[0].claim
        paper = claim.source.partition(", ")[0] if claim.about == PAPER else group.name
        found.setdefault(paper, []).append(group)
    return [
        (
            Group(
                paper[0].upper() + paper[1:] if paper == SLIDES else paper, [x for group in groups for x in group.shown]
            ),
            groups if len(groups) > 1 else [],
        )
        for paper, groups in found.items()
    ]


def _undecided(entry: Entry) -> Group:
    return Group(entry.name, [each for each in entry.shown if each.claim.verdict == UNDECIDED])


def short(source: str) -> str:
    """As a paper is called in a line.

    >>> short("arXiv 1611.07573, Fig. 7"), short("slides")
    ('arXiv Fig. 7', 'slides')
    """
    return source.replace("arXiv 1611.07573,", "arXiv").replace("ICML 2016,", "ICML")


def picture(stem: Path, caption: str) -> Picture | None:
    """The SVG without what only editors need, or else the PNG, inside of the page."""
    svg, png = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")
    if svg.exists():
        text = svg.read_text(encoding="utf-8")
        size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text)
        width, height = (round(float(x) * 4 / 3) for x in size.groups()) if size else (0, 0)
        small = re.sub(r"\s*\n\s*", " ", _DROPPED.sub("", text)).replace("> <", "><").strip()
        return Picture(stem.name, Markup("data:image/svg+xml," + uri(small)), width, height, caption)
    if png.exists():
        data = png.read_bytes()
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        source = Markup("data:image/png;base64," + base64.b64encode(data).decode("ascii"))
        return Picture(stem.name, source, width, height, caption)
    return None


def uri(svg: str) -> str:
    """Text for a data URI in double quotes.

    >>> uri('<g id="a" fill="#fff">50% λ</g>')
    "%3Cg id='a' fill='%23fff'%3E50%25 %CE%BB%3C/g%3E"
    """
    if "'" not in svg:
        svg = svg.replace('"', "'")
    for character in '%#<>&"':
        svg = svg.replace(character, f"%{ord(character):02X}")
    return svg if svg.isascii() else "".join(x if x.isascii() else quote(x) for x in svg)


def bar(numbers: Mapping[str, float]) -> Bar | None:
    """How an interval lies to 0 or to its bounds; None where there is none.

    >>> bar({"low": 1.0, "high": 3.0, "mean": 2.0, "p": 0.01})
    Bar(low=35.33, high=94.0, middle=64.67, marks=[6.0])
    """
    low, high = numbers.get("low", np.nan), numbers.get("high", np.nan)
    bounds = [numbers[name] for name in ("least", "most") if name in numbers] or [0.0]
    ends = [low, high, *bounds]
    if not np.isfinite(ends).all() or min(ends) == max(ends):
        return None
    first, length = min(ends), max(ends) - min(ends)

    def at(value: float) -> float:
        return round(6 + 88 * (value - first) / length, 2)

    middle = at(numbers["mean"]) if "mean" in numbers else None
    return Bar(at(low), at(high), middle, [at(bound) for bound in bounds])


def first_sentence(text: str) -> str:
    """What a picture shows, for those who do not see it.

    >>> first_sentence("EMD of 2 pairs (Eq. 5). It grows.")
    'EMD of 2 pairs (Eq. 5).'
    """
    return re.split(r"(?<=[^.]{3}\.) (?=[A-Z])", text, maxsplit=1)[0]


def _judged(claim: Mapping[str, Any]) -> Judged:
    """As the record has it; verdicts and kinds that are not ours are refused."""
    found = Judged(**{name: claim[name] for name in _FIELDS})
    if not all(_is_text(claim[name]) for name in _FIELDS - {"numbers"}):
        raise TypeError("a claim is said in text")
    if found.verdict not in VERDICTS or found.about not in ABOUT:
        raise ValueError(f"no verdict: {found.verdict!r}")
    return found


def _sections(here: dict[str, Entry]) -> list[tuple[str, str, list[Entry], list[str]]]:
    """Anchor, heading, what is there, and what is missing."""
    groups = {**catalogue.GROUPS, "": tuple(name for name in here if name not in catalogue.NAMES)}
    return [
        (group or "others", HEADINGS[group], [here[x] for x in names if x in here], [x for x in names if x not in here])
        for group, names in groups.items()
        if names
    ]


def _parts(source: str, here: Mapping[str, Entry], shown: list[Shown]) -> list[tuple[str, list[Row]]]:
    """The paper's items under their headings."""
    found: dict[str, list[Row]] = {}
    for item in papers.items():
        if item.paper == source and item.part:
            found.setdefault(item.part, []).append(_row(item, here, shown))
    return list(found.items())


def _row(item: Item, here: Mapping[str, Entry], shown: list[Shown]) -> Row:
    claims = [each.claim for each in shown if _of(each, item)]
    there = [name for name in item.scripts if name in here]
    if item.functions:
        status = REPRODUCED
    else:
        status = MISSING if not there else SIMULATED if there[0] in STAND_INS else REPRODUCED
    return Row(item, status, [(name, name in here) for name in item.scripts], tally(claims))


def _of(each: Shown, item: Item) -> bool:
    """Whether it is the paper's claim about that figure or table."""
    place = item.name.startswith(("Fig.", "Table"))
    return place and each.claim.about == PAPER and each.claim.source == f"{item.paper}, {item.name}"


def _places(source: str, shown: list[Shown]) -> list[Place]:
    """Where a paper claims something, from its abstract to its tables."""
    claims: dict[str, list[Shown]] = {}
    for each in shown:
        paper, _, place = each.claim.source.partition(", ")
        if each.claim.about == PAPER and paper == source:
            claims.setdefault(place, []).append(each)
    untested: dict[str, list[Item]] = {}
    for item in papers.items():
        if item.paper == source and not item.part:
            untested.setdefault(item.name, []).append(item)
    names = sorted({*claims, *untested}, key=lambda place: _rank(f"{source}, {place}"))
    return [
        Place(name, claims.get(name, []), untested.get(name, []), tally([x.claim for x in claims.get(name, [])]))
        for name in names
    ]


def _elsewhere(shown: list[Shown]) -> list[Group]:
    """Claims of papers that are not in the map."""
    known = tuple(paper.source for paper in PAPERS)
    return by_source(x for x in shown if x.claim.about == PAPER and not x.claim.source.startswith(known))


def _rank(source: str) -> tuple[Any, ...]:
    """Papers in the map's order; in each the abstract, sections, figures, tables.

    >>> _rank("arXiv 1611.07573, Sec. 2.3") < _rank("arXiv 1611.07573, Sec. 5.1") < _rank("arXiv 1611.07573, Fig. 1")
    True
    """
    paper, _, place = source.partition(", ")
    known = [each.source for each in PAPERS]
    kinds = ["abstract", "", "Sec.", "Fig.", "Table"]
    kind, _, number = place.partition(" ")
    return (
        known.index(paper) if paper in known else len(known),
        paper,
        kinds.index(kind) if kind in kinds else len(kinds),
        [int(x) for x in re.findall(r"\d+", number)],
        place,
    )


def _title(name: str) -> str:
    try:
        return catalogue.summary(name).rstrip(".")
    except StopIteration:
        return name


def errata() -> list[list[Markup]]:
    """What the papers print wrongly, from the page that proves it: number, place, printed, right, emdref."""
    lines = ERRATA.read_text(encoding="utf-8").splitlines() if ERRATA.exists() else []
    rows = [re.split(r" *\| *", line.strip("| ")) for line in lines if re.match(r"\| \[\d+\]", line)]
    return [[_inline(cell) for cell in row] for row in rows]


def _inline(markdown: str) -> Markup:
    """A cell of such a table: links are their words.

    >>> _inline("[3](#e3) `a < b`")
    Markup('3 <code>a &lt; b</code>')
    """
    words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown)
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(words))))


def _listed(words: Iterable[Any]) -> str:
    return ", ".join(str(word) for word in words if word)
