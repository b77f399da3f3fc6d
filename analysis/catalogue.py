"""The names of all figures, in four groups, and where the script of each is.

`papers` is what ``python -m analysis`` makes without a name.  A script is a module of the figure's name in one of three
folders; nothing is imported to find it.
"""

import ast
from pathlib import Path

PAPERS, TRAINING, STUDIES, BENCHMARKS = "papers", "training", "studies", "benchmarks"
GPU = "gpu"  # the one that needs a device
ABOUT = {
    PAPERS: "the papers' own figures and tables, what python -m analysis makes",
    TRAINING: "the papers' figures that train networks (extra torch)",
    STUDIES: "what the papers leave open",
    BENCHMARKS: "time and memory",
}
GROUPS = {
    PAPERS: (
        "figure1_ellyvan",
        "figure2_flows",
        "figure3_stability",
        "figure4_chain",
        "figure5_gradients",
        "slides",
        "slides_plans",
        "table1_timing",
    ),
    TRAINING: ("icml_figure1", "figure6_breathing", "figure7_hierarchy"),
    STUDIES: ("figure3_rescue", "figure3_spaces", "accuracy", "sinkhorn_limits", "sinkhorn_acceleration", "slides_svm"),
    BENCHMARKS: ("sinkhorn_scaling", "speed", "speed_growth", GPU),
}
NAMES = tuple(name for group in GROUPS.values() for name in group)
ALL = "all"
SWEEP = "sweep"  # not a figure: any grid that the command line names
REPORT = "report"  # not a figure: the page of all results
ON_ANY_SPACE = ("figure3_stability", "figure3_rescue", "sinkhorn_limits", SWEEP)
ON_RECORDS = ("icml_figure1", "figure6_breathing")
ON_DATA = ("figure7_hierarchy",)
FOLDERS = ("figures", "studies", "benchmarks")  # of scripts


def file(name: str, package: Path = Path(__file__).parent) -> Path:
    """The script of that name."""
    return next(path for folder in FOLDERS if (path := package / folder / f"{name}.py").exists())


def module(name: str) -> str:
    """Its name for an import."""
    return f"analysis.{file(name).parent.name}.{name}"


def told(name: str) -> str:
    """A script's docstring, read without importing it."""
    return ast.get_docstring(ast.parse(file(name).read_text(encoding="utf-8"))) or ""


def summary(name: str) -> str:
    """Its first line."""
    return told(name).splitlines()[0]


def listed() -> str:
    """Every name under its group."""
    return "; ".join(f"{group}: {', '.join(names)}" for group, names in GROUPS.items())
