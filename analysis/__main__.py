"""The command line: ``python -m analysis [NAME] [--toy] [--out DIR]``."""

from __future__ import annotations

import argparse
import ast
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.axes import AXES, add, integer
from analysis.scripts import NAMES, ON_ANY_SPACE, ON_DATA, ON_RECORDS, SWEEP

INTERRUPTED = 130  # the shell's status for a process that Ctrl-C stopped


def main(argv: list[str] | None = None) -> int:
    """Run one script or all; the process's exit status."""
    parser = _parser()
    arguments = vars(parser.parse_args(argv))
    if "records" not in arguments and arguments.keys() & {"chest", "nose"}:
        parser.error("--chest and --nose name channels of recordings: give their folder with --records")
    name, listing = arguments.pop("name", None), arguments.pop("list", False)
    if listing:
        for each in NAMES:
            print(f"{each:20s} {_summary(each)}")
        return 0
    arguments.setdefault("out", _folder(name, arguments))
    if argv is None:
        _stop_at_once(_interrupted(arguments))
    try:
        found, errors = _run([name] if name else NAMES, arguments)
    except RuntimeError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"analysis: not enough memory ({error}): what is finished is kept; use a smaller space", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(_interrupted(arguments), file=sys.stderr)
        return INTERRUPTED
    _print_claims(found)
    for error in errors:
        print(f"analysis: {error}", file=sys.stderr)
    return 1 if errors else 0


def _run(names: Sequence[str], arguments: dict[str, Any]) -> Any:
    from analysis.script import Options, run  # Matplotlib and Numba: not for --list, --help and a mistyped option
    from emdref.kernels.threads import processors

    arguments.setdefault("jobs", processors())
    if SWEEP in names:
        arguments["axes"] = {name: arguments.pop(name, list(axis.default)) for name, axis in AXES.items()}
    return run({each: import_module(f"analysis.scripts.{each}") for each in names}, Options(**arguments))


def _folder(name: str | None, arguments: dict[str, Any]) -> Path:
    """Where results go unless told: sweeps of one's own and other spaces do not mix with the papers' figures."""
    parts = ["figures"] + [SWEEP] * (name == SWEEP)
    if "tree" in arguments:
        parts.append(arguments["tree"].name.split(".")[0])
    if "chain" in arguments:
        parts.append(f"chain{arguments['chain']}")
    if "records" in arguments:
        parts.append(arguments["records"].resolve().name)  # . has no name
    return Path("-".join(parts + ["toy"] * arguments.get("toy", False)))


def _interrupted(arguments: dict[str, Any]) -> str:
    store = arguments.get("store") or arguments["out"] / "sweep.sqlite"
    return f"analysis: interrupted; what is finished is kept in {store}, the same command goes on from there"


def _stop_at_once(message: str) -> None:
    """Let Ctrl-C end this process there and then: extension modules swallow KeyboardInterrupt or make errors of it."""

    def stop(*_: Any) -> None:
        os.write(sys.stderr.fileno(), f"\n{message}\n".encode())
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, stop)


def _parser() -> argparse.ArgumentParser:
    shared = _shared()
    parser = argparse.ArgumentParser(
        prog="python -m analysis",
        description="Regenerate the papers' figures: NAME.csv, NAME.svg and NAME.json. Without NAME: all of them.",
        parents=[shared, _seed()],
    )
    parser.add_argument("--list", action="store_true", default=False, help="list the names and stop")
    names = parser.add_subparsers(dest="name", metavar="NAME", title="one figure alone, or a sweep of your own")
    for each in (*NAMES, SWEEP):
        own = names.add_parser(
            each,
            parents=[shared, *_own(each)],
            help=_summary(each),
            description=_help(each),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if each == SWEEP:
            add(own)
    return parser


def _shared() -> argparse.ArgumentParser:
    """What every script takes."""
    shared = _options()
    shared.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: figures, or e.g. figures-sweep-chain30-toy)",
    )
    shared.add_argument("--toy", action="store_true", help="seconds instead of minutes: to try the script, not to cite")
    shared.add_argument("--jobs", type=_number(1), help="cells computed at once (default: the processors available)")
    shared.add_argument("--redraw", action="store_true", help="draw again from the CSV files, compute nothing")
    shared.add_argument("--parquet", action="store_true", help="write NAME.parquet beside NAME.csv (extra: parquet)")
    shared.add_argument(
        "--store", type=Path, metavar="FILE", help="finished cells are kept in it (default: sweep.sqlite in --out)"
    )
    shared.add_argument(
        "--scheduler",
        type=_address,
        metavar="ADDRESS",
        help="compute on a Dask cluster, e.g. tcp://host:8786 (extra: dask)",
    )
    return shared


def _address(text: str) -> str:
    """Not empty: an unset variable of the shell must not mean this machine."""
    if not text:
        raise argparse.ArgumentTypeError("the address is empty")
    return text


def _seed() -> argparse.ArgumentParser:
    seed = _options()
    seed.add_argument("--seed", type=_number(0), help="of all random numbers (default: 0)")
    return seed


def _space() -> argparse.ArgumentParser:
    """What scripts take that run on any space."""
    parser = _options()
    space = parser.add_mutually_exclusive_group()
    space.add_argument(
        "--tree", type=Path, metavar="FILE", help="Newick, edge list, node-link JSON or .npz instead of WordNet's tree"
    )
    space.add_argument("--chain", type=_number(2), metavar="N", help="a chain of N bins instead")
    return parser


def _recordings() -> argparse.ArgumentParser:
    """What scripts take that predict breathing."""
    parser = _options()
    parser.add_argument(
        "--records",
        type=_recorded,
        metavar="DIR",
        help="WFDB or EDF records instead of simulated sleepers (extra: records)",
    )
    parser.add_argument(
        "--chest", metavar="NAME", help="the records' channel of chest excursion (default: as in slpdb)"
    )
    parser.add_argument("--nose", metavar="NAME", help="the records' channel of nasal airflow (default: as in slpdb)")
    return parser


def _recorded(text: str) -> Path:
    """A folder: an unset variable of the shell must not mean the one we are in."""
    if not Path(text).is_dir() or not text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder; name one that holds WFDB or EDF records")
    return Path(text)


def _features() -> argparse.ArgumentParser:
    parser = _options()
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="for k-shot learning: .npz of features X, classes y, their tree's parents; or openml, to fetch plants",
    )
    return parser


def _own(name: str) -> list[argparse.ArgumentParser]:
    """What one script takes and others do not."""
    kinds = {
        _space: name in ON_ANY_SPACE,
        _seed: name != SWEEP,
        _recordings: name in ON_RECORDS,
        _features: name in ON_DATA,
    }
    return [kind() for kind, wanted in kinds.items() if wanted]


def _options() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)


def _help(name: str) -> str:
    """A script's docstring, read without importing it."""
    source = Path(__file__).parent / "scripts" / f"{name}.py"
    return ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""


def _summary(name: str) -> str:
    return _help(name).splitlines()[0]


def _number(least: int) -> Callable[[str], int]:
    """A type for argparse: an integer that is at least so large."""
    parse = integer(least)

    def number(text: str) -> int:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} {error}") from None

    return number


def _print_claims(found: dict) -> None:
    print("\nWhat the papers claim, and what was found:")
    for name, claims in found.items():
        for claim in claims:
            print(f"\n{name} ({claim.source})\n  claimed: {claim.claimed}\n  found:   {claim.found}")
            print(f"  -> {claim.verdict()}")


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:
        print("analysis: interrupted before anything was computed", file=sys.stderr)
        status = INTERRUPTED
    sys.stdout.flush()
    sys.stderr.flush()
    # not sys.exit: after a failure or an interrupt, threads in the middle of a cell would keep us for up to a minute
    os._exit(status)
