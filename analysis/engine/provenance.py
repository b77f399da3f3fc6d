"""What a figure was made by: the script and what it imports from here, so that a changed script is seen."""

from __future__ import annotations

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

from analysis import catalogue

ROOT = Path(__file__).parents[2]
RUNNERS = (
    "catalogue",
    "engine/cells",
    "engine/pages",
    "engine/provenance",
    "engine/reproduction",
    "engine/run_cells",
    "engine/script",
    "engine/store",
    "engine/sweep_axes",
    "engine/workers",
)


@lru_cache
def digest(name: str) -> str:
    """Of a script's own source and those of the modules it imports, but for those that only run scripts."""
    apart = {ROOT / "analysis" / f"{runner}.py" for runner in RUNNERS}
    found, waiting = set(), [catalogue.file(name, ROOT / "analysis")]
    while waiting:
        path = waiting.pop()
        if path not in found | apart:
            found.add(path)
            waiting += _imported(path)
    text = [path.read_text(encoding="utf-8") for path in sorted(found)]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()[:16]


def _imported(path: Path) -> list[Path]:
    """The modules of this package that a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    paths = [ROOT / f"{name.replace('.', '/')}.py" for name in names if name.split(".")[0] == "analysis"]
    return [path for path in paths if path.exists()]
