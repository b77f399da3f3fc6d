"""Two directives that put the verdicts of figures/*.json into a page, so that no page repeats what a run may change.

``{verdicts} NAME ...`` is a table of these figures' claims, ``{tally}`` one of how many claims of each source have
which verdict.
"""

import json
import re
from collections import Counter
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

FIGURES = Path(__file__).parents[1] / "figures"
VERDICTS = "holds", "does not hold", "undecided", "not measured"


def plain(text: str) -> str:
    """Without a meaning for Markdown."""
    return re.sub(r"([\\|*_<>$\[\]`])", r"\\\1", text)


class Table(SphinxDirective):
    def claims(self, names):
        for path in (FIGURES / f"{name}.json" for name in names):
            self.env.note_dependency(str(path))
            yield from json.loads(path.read_text("utf-8")).get("claims", [])

    def table(self, head, rows):
        lines = [head, ["---"] * len(head), *rows]
        return self.parse_text_to_nodes("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines))


class Verdicts(Table):
    required_arguments, final_argument_whitespace = 1, True

    def run(self):
        rows = (
            [
                f"{plain(claim['claimed'])} ({plain(claim['source'])})",
                plain(claim["found"] or claim["why"]),
                f"**{claim['verdict']}**",
            ]
            for claim in self.claims(self.arguments[0].split())
        )
        return self.table(["Claim", "Found", "Verdict"], rows)


class Tally(Table):
    def run(self):
        found: dict[str, Counter] = {}
        for claim in self.claims(sorted(path.stem for path in FIGURES.glob("*.json"))):
            source = {"target": "our own targets", "finding": "our own findings"}.get(
                claim["about"], claim["source"].split(",")[0]
            )
            found.setdefault(source, Counter())[claim["verdict"]] += 1
        rows = sorted(found.items(), key=lambda row: (row[0].startswith("our own"), row[0].lower()))
        return self.table(["Claims of", *VERDICTS], [[plain(source), *(n[v] for v in VERDICTS)] for source, n in rows])


def setup(app):
    app.add_directive("verdicts", Verdicts)
    app.add_directive("tally", Tally)
    return {"parallel_read_safe": True}
