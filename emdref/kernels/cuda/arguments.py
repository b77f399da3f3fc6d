"""What kernels of chains and trees are told besides their rows, their space and where results go."""

from typing import Any, NamedTuple


class Launch(NamedTuple):
    """How a launch is cut up."""

    first: int  # row
    rows: int  # number of the last row, plus 1
    lanes: int  # rows a block
    stride: int  # between a row's numbers in scratch
    mates: int  # neighbouring threads that read or write a row together


class Numbers(NamedTuple):
    """What to compute, and how closely to look."""

    rho: Any
    share: Any  # N, or in plain arithmetic 1/N; 0 for a gradient that is not centred
    factor: Any
    half: Any  # of the tolerance
    closely: bool
    digits: int
    bounds: tuple[float, float, float, float]
