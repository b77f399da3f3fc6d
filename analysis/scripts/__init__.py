"""One module a figure."""

NAMES = ("figure1_ellyvan", "figure3_stability", "figure5_gradients", "slides")
