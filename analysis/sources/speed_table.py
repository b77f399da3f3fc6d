"""The README's table of targets for emdref's speed, from what was measured on a CPU and on a GPU.

    python -m analysis.sources.speed_table

In the root of a clone: it writes the table anew from figures/speed_targets.csv, speed.json and gpu.csv.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.gpu import device_targets

BEGIN, END = "<!-- speed: begin -->\n", "<!-- speed: end -->\n"


def markdown(table: pd.DataFrame) -> str:
    """The README's table of targets, from that of `targets`."""
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


def section(folder: Path) -> str:
    """What stands between the README's two marks, from the files in that folder."""
    record = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    return f"{machine(record)}\n{markdown(targets(folder))}"


def _mark(row: Any) -> str:
    """Bold where the target is missed."""
    text = row.holds if np.isnan(row.found) else f"{row.found:.3g}"
    return f"**{text}**" if row.holds == "no" else text


def targets(folder: Path) -> pd.DataFrame:
    """All targets, those of a GPU as well, from the tables in that folder."""
    report = device_targets.measured(folder / "gpu.csv")
    tables = [pd.read_csv(folder / "speed_targets.csv", keep_default_na=False, na_values=[""])]
    tables.append(device_targets.unmeasured() if report is None else device_targets.goals(report))
    return pd.concat(tables, ignore_index=True).fillna({"dtype": ""})


def main(readme: Path = Path("README.md"), folder: Path = Path("figures")) -> None:
    """Put the table into the README, between its two marks."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    text = before + BEGIN + section(folder) + END + after
    readme.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
