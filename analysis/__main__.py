"""The command line: ``python -m analysis [NAME] [--toy] [--out DIR]``."""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from analysis.scripts import NAMES

INTERRUPTED = 130  # the shell's status for a process that Ctrl-C stopped


def main(argv: list[str] | None = None) -> int:
    """Run one script or all; the process's exit status."""
    arguments = vars(_parser().parse_args(argv))
    name, listing = arguments.pop("name", None), arguments.pop("list", False)
    if listing:
        for each in NAMES:
            print(f"{each:20s} {_summary(each)}")
        return 0
    arguments.setdefault("out", Path("figures-toy" if arguments.get("toy") else "figures"))
    try:
        from analysis.script import Options, run  # Matplotlib and Numba: not for --list, --help and a mistyped option
        from emdref.kernels.threads import processors

        arguments.setdefault("jobs", processors())
        scripts = {each: import_module(f"analysis.scripts.{each}") for each in ([name] if name else NAMES)}
        found = run(scripts, Options(**arguments))
    except RuntimeError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "analysis: interrupted; the figures finished so far are kept, the same command starts again",
            file=sys.stderr,
        )
        return INTERRUPTED
    _print_claims(found)
    return 0


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the results (default: figures, with --toy figures-toy)"
    )
    shared.add_argument("--toy", action="store_true", help="seconds instead of minutes: to try the script, not to cite")
    shared.add_argument("--seed", type=_integer(0), help="of all random numbers (default: 0)")
    shared.add_argument("--jobs", type=_integer(1), help="cells computed at once (default: the processors available)")
    shared.add_argument("--redraw", action="store_true", help="draw again from the CSV files, compute nothing")
    parser = argparse.ArgumentParser(
        prog="python -m analysis",
        description="Regenerate the papers' figures: NAME.csv, NAME.svg and NAME.json. Without NAME: all of them.",
        parents=[shared],
    )
    parser.add_argument("--list", action="store_true", default=False, help="list the names and stop")
    names = parser.add_subparsers(dest="name", metavar="NAME", title="one figure alone")
    for each in NAMES:
        names.add_parser(
            each,
            parents=[shared],
            help=_summary(each),
            description=_help(each),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    return parser


def _help(name: str) -> str:
    """A script's docstring, read without importing it."""
    source = Path(__file__).parent / "scripts" / f"{name}.py"
    return ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""


def _summary(name: str) -> str:
    return _help(name).splitlines()[0]


def _integer(least: int) -> Callable[[str], int]:
    """A type for argparse: an integer that is at least so large."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} must be an integer >= {least}")
        return int(text)

    return parse


def _print_claims(found: dict) -> None:
    print("\nWhat the papers claim, and what was found:")
    for name, claims in found.items():
        for claim in claims:
            print(f"\n{name} ({claim.source})\n  claimed: {claim.claimed}\n  found:   {claim.found}")
            print(f"  -> {'holds' if claim.holds else 'DOES NOT HOLD'}")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # not sys.exit: after a failure or an interrupt, threads in the middle of a cell would keep us for up to a minute
    os._exit(status)
