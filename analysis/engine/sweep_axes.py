"""The axes of ``python -m analysis sweep``: every combination of their values is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple


class Axis(NamedTuple):
    """How one axis is read from the command line."""

    parse: Callable[[str], Any]  # one value; ValueError says what is wrong
    default: tuple[Any, ...]
    help: str


def _choice(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return text

    return parse


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("must be a number") from None
    if not 0 < number < float("inf"):
        raise ValueError("must be positive and finite")
    return number


def integer(least: int) -> Callable[[str], int]:
    """Reads an integer that is at least so large."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"must be an integer >= {least}")
        return int(text)

    return parse


AXES = {
    "lam": Axis(_positive, (0.1, 1.0, 10.0, 100.0), "inverse strength of the entropy, in 1 / cost"),
    "cap": Axis(integer(1), (10, 100), "iterations; all caps are taken from one run"),
    "dtype": Axis(
        _choice("float64", "float32", "tf32", "bfloat16", "float16"),
        ("float64",),
        "float64, float32; in dense products also tf32, bfloat16, float16",
    ),
    "kernel": Axis(_choice("dense", "space"), ("space",), "dense: the N x N matrix; space: O(V) sums along the space"),
    "domain": Axis(_choice("linear", "log"), ("log",), "linear: numbers; log: their logarithms"),
    "variant": Axis(str, ("paper",), "paper, frogner, cuturi, caffe, mocha, overrelaxed: see emdref.sinkhorn"),
    "target": Axis(
        _choice("softmax", "ReaL", "one-hot"),
        ("softmax",),
        "what a prediction is compared with: softmax, one-hot; of the 1000 ILSVRC classes also ReaL",
    ),
    "sigma": Axis(_positive, (2.0,), "spread of the logits, the inverse of the softmax's temperature"),
    "seed": Axis(integer(0), (0,), "of the pairs' random numbers"),
    "pairs": Axis(integer(1), (16,), "pairs a cell"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Offer every axis as an option that takes values with commas between them."""
    group = parser.add_argument_group("axes (values with commas between them)")
    for name, axis in AXES.items():
        default = ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in axis.default)
        text = f"{axis.help} (default: {default})"
        group.add_argument(
            f"--{name}", type=values(axis.parse), metavar="A,B,...", default=argparse.SUPPRESS, help=text
        )


def values(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A type for argparse: values with commas between them."""

    def each(text: str) -> list[Any]:
        found = []
        for part in text.split(","):
            try:
                found.append(parse(part))
            except ValueError as error:
                raise argparse.ArgumentTypeError(f"{part!r} {error}") from None
        return list(dict.fromkeys(found))  # a value named twice is one value

    return each
