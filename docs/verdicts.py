"""Two directives that put the verdicts of figures/*.json into a page, so that no page repeats what a run may change.

``{verdicts} NAME ...`` is a table of these figures' claims, ``{tally}`` one of how many claims of each source have
which verdict, as the report counts them.
"""

import json
import re

from sphinx.util.docutils import SphinxDirective

from analysis.engine.claims import VERDICTS
from analysis.report import page

FIGURES = page.ROOT / "figures"


def plain(text: str) -> str:
    """Without a meaning for Markdown."""
    return re.sub(r"([\\|*_<>$\[\]`])", r"\\\1", text)


class Table(SphinxDirective):
    def record(self, name):
        """What a figure's JSON holds; the page is made again when it changes."""
        path = FIGURES / f"{name}.json"
        self.env.note_dependency(str(path))
        return json.loads(path.read_text("utf-8"))

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
            for name in self.arguments[0].split()
            for claim in self.record(name)["claims"]
        )
        return self.table(["Claim", "Found", "Verdict"], rows)


class Tally(Table):
    def run(self):
        entries = [page.Entry(path.stem, FIGURES, self.record(path.stem)) for path in sorted(FIGURES.glob("*.json"))]
        groups = (group for group, _ in page.tallies([each for entry in entries for each in entry.shown]))
        return self.table(["Claims of", *VERDICTS], [[plain(group.name), *group.counts] for group in groups])


def setup(app):
    app.add_directive("verdicts", Verdicts)
    app.add_directive("tally", Tally)
    return {"parallel_read_safe": True}
