"""Tables of targets for emdref's speed: all of them in docs/lookup/speed.md, three in the README.

    python -m analysis.sources.speed_table

In the root of a clone: it writes both anew from figures/speed_targets.csv, speed.json and gpu.csv.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.engine.claims import FAILS, UNDECIDED
from analysis.gpu import device_targets

BEGIN, END = "<!-- speed: begin -->\n", "<!-- speed: end -->\n"
MARKS = {FAILS: "**", UNDECIDED: "*"}
MAIN = (  # what the README shows, beside what
    ("emd, one pair of 10 bins", "np.abs(np.cumsum(p - q)).sum()"),
    ("sinkhorn, whole call, 10 iterations, WordNet tree, 512 rows", "dense iterations, BLAS"),
    ("EMD² value and gradient, chain, 8192 × 1000, native", "np.subtract, fresh output"),
)


def markdown(table: pd.DataFrame) -> str:
    """A table of targets, from that of `targets`."""
    lines = ["| what | beside | target | float32 | float64 | |", "|---|---|---|---|---|---|"]
    for (what, against, unit), rows in table.groupby(["what", "against", "unit"], sort=False):
        found = {row.dtype: f"{_mark(row)}" for row in rows.itertuples()}
        cells = [found.get("float32", ""), found.get("float64", found.get("", ""))]
        target = " / ".join(dict.fromkeys(rows.target)).replace("at least ", "≥ ").replace("at most ", "≤ ")
        lines.append(f"| {what} | {against} | {target} | {' | '.join(cells)} | {unit} |")
    return "\n".join(lines) + "\n"


def machine(record: dict[str, Any]) -> str:
    """A sentence on where the CPU's numbers come from, of the record beside the table."""
    versions = {"Python": record["python"], **record["versions"]}
    names = {"numpy": "NumPy", "numba": "Numba", "scipy": "SciPy"}
    with_these = [
        f"{names.get(name, name)} {version}" for name, version in versions.items() if name in ("Python", *names)
    ]
    text = (
        f"Measured with emdref {record['emdref']} on {record['date']}: {record['processor']}, {record['cores']} cores, "
        f"{record['vectors']}; {', '.join(with_these)}, BLAS: {record['blas']}."
    )
    return textwrap.fill(text, 120) + "\n"


def section(folder: Path, *, whole: bool = False) -> str:
    """What stands between two marks, from the files there: in the README, and as a whole in docs/lookup/speed.md."""
    record, table = json.loads((folder / "speed.json").read_text(encoding="utf-8")), targets(folder)
    return f"{machine(record)}\n{markdown(table if whole else main_rows(table))}"


def main_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Those that the README shows."""
    return table[[row in MAIN for row in zip(table.what, table.against, strict=True)]]


def _mark(row: Any) -> str:
    """Bold where the target is missed, italic where it is undecided."""
    text = row.holds if np.isnan(row.found) else f"{row.found:.3g}"
    mark = MARKS.get(row.holds, "")
    return f"{mark}{text}{mark}"


def targets(folder: Path) -> pd.DataFrame:
    """All targets, those of a GPU as well, from the tables in that folder."""
    report = device_targets.measured(folder / "gpu.csv")
    tables = [pd.read_csv(folder / "speed_targets.csv", keep_default_na=False, na_values=[""])]
    tables.append(device_targets.unmeasured() if report is None else device_targets.goals(report))
    return pd.concat(tables, ignore_index=True).fillna({"dtype": ""})


def main(root: Path = Path()) -> None:
    """Put the tables into README and docs/lookup/speed.md, between their two marks."""
    for page, whole in ((root / "README.md", False), (root / "docs" / "lookup" / "speed.md", True)):
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        text = before + BEGIN + section(root / "figures", whole=whole) + END + after
        page.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
