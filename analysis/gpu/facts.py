"""What the device is."""

from collections.abc import Iterator

from analysis.gpu import device


def rows() -> Iterator[dict[str, str]]:
    """A row a fact."""
    for name, value in device.facts():
        yield {"part": "device", "name": name, "note": value}
