"""One module a figure, in four groups; `papers` is what ``python -m analysis`` makes without a name."""

PAPERS, TRAINING, STUDIES, BENCHMARKS = "papers", "training", "studies", "benchmarks"
ABOUT = {
    PAPERS: "the papers' own figures and tables, what python -m analysis makes",
    TRAINING: "the papers' figures that train networks (extra torch)",
    STUDIES: "what the papers leave open",
    BENCHMARKS: "time and memory",
}
GROUPS = {
    PAPERS: ("figure1_ellyvan", "figure3_stability", "figure5_gradients", "slides", "table1_timing"),
    TRAINING: ("icml_figure1", "figure6_breathing", "figure7_hierarchy"),
    STUDIES: ("figure3_rescue", "figure3_spaces", "accuracy", "sinkhorn_limits", "sinkhorn_acceleration"),
    BENCHMARKS: ("sinkhorn_scaling", "speed", "speed_growth", "gpu"),
}
NAMES = tuple(name for group in GROUPS.values() for name in group)
ALL = "all"
SWEEP = "sweep"  # not a figure: any grid that the command line names
ON_ANY_SPACE = ("figure3_stability", "figure3_rescue", "sinkhorn_limits", SWEEP)
ON_RECORDS = ("icml_figure1", "figure6_breathing")
ON_DATA = ("figure7_hierarchy",)


def listed() -> str:
    """Every name under its group."""
    return "; ".join(f"{group}: {', '.join(names)}" for group, names in GROUPS.items())
