"""One module a figure."""

NAMES = (
    "figure1_ellyvan",
    "figure3_stability",
    "figure3_spaces",
    "figure5_gradients",
    "slides",
    "icml_figure1",
    "figure6_breathing",
    "figure7_hierarchy",
    "accuracy",
    "sinkhorn_limits",
    "sinkhorn_acceleration",
    "sinkhorn_scaling",
    "speed",
    "speed_growth",
    "gpu",
    "table1_timing",
)
SWEEP = "sweep"  # not a figure: any grid that the command line names
ON_ANY_SPACE = ("figure3_stability", "sinkhorn_limits", SWEEP)
ON_RECORDS = ("icml_figure1", "figure6_breathing")
ON_DATA = ("figure7_hierarchy",)
