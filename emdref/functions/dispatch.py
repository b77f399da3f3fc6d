"""The way from a public function to its twin on a GPU."""

from typing import Any


def on_gpu(name: str, *args: Any) -> Any:
    """A function of `emdref.gpu.calls`, which is imported when the first call needs it, and CUDA with it."""
    from emdref.gpu import calls

    return getattr(calls, name)(*args)
