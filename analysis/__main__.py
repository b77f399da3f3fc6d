"""The command line: ``python -m analysis [NAME ...] [--toy] [--out DIR]``, and ``python -m analysis report``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from analysis import catalogue
from analysis.catalogue import (
    ABOUT,
    ALL,
    GROUPS,
    NAMES,
    ON_ANY_SPACE,
    ON_DATA,
    ON_RECORDS,
    PAPERS,
    REPORT,
    SWEEP,
    listed,
    summary,
    told,
)  # fmt: skip
from analysis.engine.sweep_axes import AXES, add, integer

PROGRAM = "python -m analysis"
INTERRUPTED = 130  # the shell's status for a process that Ctrl-C stopped
REPORT_HELP = (
    "Make the page of all results, report.html, from the CSV, JSON and SVG files of a folder. Every run ends with it; "
    "this makes it without a run."
)
WORDS = {*NAMES, *GROUPS, ALL, SWEEP, REPORT}


def main(argv: list[str] | None = None) -> int:
    """Run the scripts that are named, or those of the papers; the process's exit status."""
    asked, arguments = _parsed(argv)
    if arguments.pop("list", False):
        print(_listing())
        return 0
    whole = arguments.pop("claims", False)
    arguments.setdefault("out", _folder(asked, arguments))
    if argv is None:
        _stop_at_once(_interrupted(arguments))
    try:
        if REPORT in asked:
            return _report(arguments["out"])
        found, errors = _run(asked or [PAPERS], arguments)
    except RuntimeError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"analysis: not enough memory ({error}): what is finished is kept; use a smaller space", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(_interrupted(arguments), file=sys.stderr)
        return INTERRUPTED
    _print_claims(found, whole, arguments["out"])
    _print_comparisons(found)
    if not arguments.get("check"):
        errors += _reported(arguments["out"])
    for error in errors:
        print(f"analysis: {error}", file=sys.stderr)
    return 1 if errors else 0


def _run(asked: Sequence[str], arguments: dict[str, Any]) -> Any:
    _need_extra()
    from analysis.engine.script import Options, run  # Matplotlib, Numba: not for --list, --help and a mistyped option
    from emdref.kernels.compile.threads import processors

    arguments.setdefault("jobs", processors())
    if SWEEP in asked:
        if "circle" in arguments:
            arguments.setdefault("kernel", ["dense"])  # a ring has no sums along edges
        arguments["axes"] = {name: arguments.pop(name, list(axis.default)) for name, axis in AXES.items()}
    arguments["named"] = tuple(name for name in asked if name in NAMES)
    arguments["quick"] = list(asked) == [PAPERS]
    return run({each: import_module(catalogue.module(each)) for each in _names(asked)}, Options(**arguments))


def _report(out: Path) -> int:
    """Make the report alone."""
    _need_extra()
    errors = _reported(out, f"{out} holds no results: run a script with --out {out}")
    for error in errors:
        print(f"analysis: {error}", file=sys.stderr)
    return 1 if errors else 0


def _reported(out: Path, empty: str = "") -> list[str]:
    """Make the report of all that is there and say where it is; what went wrong, `empty` if there is nothing."""
    from analysis.report import page

    entries, damaged = page.read(out)
    if not entries and not damaged:
        return [empty] * bool(empty)
    try:
        path = page.write(out, entries, damaged)
    except OSError as error:
        return [
            f"--out {out}: the report cannot be written there ({error.strerror}); python -m analysis report tries again"
        ]
    print(f"\nThe report: {path}")
    words = "cannot be read as a record, and the report leaves it out: mend or remove it"
    return [f"{out / name} {words}" for name in damaged]


def _need_extra() -> None:
    missing = [package for package in ("jinja2", "matplotlib", "pandas") if find_spec(package) is None]
    if missing:
        raise RuntimeError(
            f"{', '.join(missing)} cannot be imported: figures need the extra: "
            "python3 -m pip install --editable '.[analysis]'"
        )


def _names(asked: Sequence[str]) -> list[str]:
    """Of scripts, each once, in the order asked for; groups stand for their members."""
    members = GROUPS | {ALL: NAMES}
    return list(dict.fromkeys(name for each in asked for name in members.get(each, (each,))))


def _folder(asked: Sequence[str], arguments: dict[str, Any]) -> Path:
    """Where results go unless told: sweeps of one's own and other spaces do not mix with the papers' figures."""
    parts = ["figures"] + [SWEEP] * (SWEEP in asked)
    if "tree" in arguments:
        parts.append(arguments["tree"].name.split(".")[0])
    if "chain" in arguments:
        parts.append(f"chain{arguments['chain']}")
    if "circle" in arguments:
        parts.append(f"circle{arguments['circle']}")
    if "records" in arguments:
        parts.append(arguments["records"].resolve().name)  # . has no name
    return Path("-".join(parts + ["toy"] * arguments.get("toy", False)))


def _interrupted(arguments: dict[str, Any]) -> str:
    if arguments.get("check") and "store" not in arguments:
        return "analysis: interrupted; --check keeps nothing without --store FILE"
    store = arguments.get("store") or arguments["out"] / "sweep.sqlite"
    return f"analysis: interrupted; what is finished is kept in {store}, the same command goes on from there"


def _stop_at_once(message: str) -> None:
    """Let Ctrl-C end this process there and then: extension modules swallow KeyboardInterrupt or make errors of it."""

    def stop(*_: Any) -> None:
        os.write(sys.stderr.fileno(), f"\n{message}\n".encode())
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, stop)


def _parsed(argv: list[str] | None) -> tuple[list[str], dict[str, Any]]:
    """What is asked for, and its options: first the names are found, then what all of them take is parsed."""
    scout = argparse.ArgumentParser(
        prog=PROGRAM, add_help=False, conflict_handler="resolve", argument_default=argparse.SUPPRESS,
        parents=[_shared(), _axes(), *(kind() for kind in TAKEN)],
    )  # fmt: skip
    for action in scout._actions:
        action.type = None  # whether a value is right is for the second look
    scout.add_argument("-h", "--help", action="store_true")
    scout.add_argument("names", nargs="*", default=[])
    given = vars(scout.parse_known_intermixed_args(argv)[0])
    names = given.pop("names")
    parser = _of_report() if names == [REPORT] else _parser([name for name in names if name in WORDS - {REPORT}])
    unknown = [name for name in names if name not in WORDS]
    if unknown:
        parser.error(
            f"there is no {unknown[0]!r}; {listed()}; or all of them: {ALL}; or a grid of your own: {SWEEP}; or "
            f"the page of all results: {REPORT}"
        )
    if SWEEP in names and len(names) > 1:
        parser.error(f"{SWEEP} takes a grid of its own: name it alone")
    if REPORT in names:
        if len(names) > 1:
            parser.error(f"{REPORT} is made at the end of every run: name it alone")
        arguments = vars(parser.parse_args(argv))
        return arguments.pop("names"), arguments
    for kind, takers in TAKEN.items():
        for action in kind()._actions:
            if action.dest in given and not {*takers, SWEEP} >= {*_names(names or [PAPERS])}:
                parser.error(
                    f"{action.option_strings[0]} is an option of {', '.join(takers)} alone: name what takes it"
                )
    arguments = vars(parser.parse_intermixed_args(argv))
    spaces = sorted(arguments.keys() & {"circle", "chain", "tree"})
    if len(spaces) > 1:
        parser.error(f"--{spaces[0]} and --{spaces[1]} name two spaces: give one")
    if arguments.keys() & {"chest", "nose"} and "records" not in arguments:
        parser.error("--chest and --nose name channels of recordings: give their folder with --records")
    return arguments.pop("names"), arguments


def _parser(asked: Sequence[str]) -> argparse.ArgumentParser:
    """For the options that everything asked for takes."""
    names = _names(asked or [PAPERS])
    own = [kind() for kind, takers in TAKEN.items() if all(name in takers for name in names)]
    parser = argparse.ArgumentParser(
        prog=" ".join([PROGRAM, *asked]),
        description=told(names[0]) if len(names) == 1 else "Make the papers' figures: NAME.csv, NAME.svg, NAME.json.",
        epilog=None if len(names) == 1 else f"{_listing()}\n\n{SWEEP}: {summary(SWEEP)}\n{REPORT}: {REPORT_HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_shared(), *own, *([_axes()] if SWEEP in names else [])],
        argument_default=argparse.SUPPRESS,
    )
    names_or_groups = f"names or groups, any number of them: see --list (default: {PAPERS})"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names_or_groups, default=[])
    return parser


def _of_report() -> argparse.ArgumentParser:
    """For `report` alone, which computes nothing."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {REPORT}", description=REPORT_HELP, argument_default=argparse.SUPPRESS
    )
    parser.add_argument("names", nargs=1, metavar=REPORT, help="this page")
    _add_out(parser, "folder of the results (default: figures)")
    return parser


def _listing() -> str:
    """Every name with a line, under its group."""
    lines = []
    for group, names in GROUPS.items():
        lines += [f"{group}: {ABOUT[group]}", *(f"  {name:22s} {summary(name)}" for name in names)]
    return "\n".join(lines)


def _shared() -> argparse.ArgumentParser:
    """What every script takes."""
    shared = _options()
    shared.add_argument("--list", action="store_true", help="list the names by group and stop")
    _add_out(shared, "folder for the results (default: figures, or e.g. figures-sweep-chain30-toy)")
    shared.add_argument("--toy", action="store_true", help="seconds instead of minutes: to try the script, not to cite")
    shared.add_argument("--jobs", type=_number(1), help="cells computed at once (default: the processors available)")
    way = shared.add_mutually_exclusive_group()
    way.add_argument("--redraw", action="store_true", help="draw again from the CSV files, compute nothing")
    way.add_argument(
        "--check", action="store_true", help="compute and compare with the tables there are; write nothing"
    )
    way.add_argument("--accept", action="store_true", help="replace tables of which only timings are new, too")
    shared.add_argument("--claims", action="store_true", help="end with every claim in full, not with their count")
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


def _add_out(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help=words)


def _axes() -> argparse.ArgumentParser:
    """What a sweep takes."""
    parser = _options()
    parser.add_argument("--circle", type=_number(2), metavar="N", help="a ring of N bins instead, by its matrix")
    add(parser)
    return parser


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


def _options() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)


def _number(least: int) -> Callable[[str], int]:
    """A type for argparse: an integer that is at least so large."""
    parse = integer(least)

    def number(text: str) -> int:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} {error}") from None

    return number


TAKEN = {  # options, and who takes them
    _seed: NAMES,  # of a sweep an axis
    _space: ON_ANY_SPACE,
    _recordings: ON_RECORDS,
    _features: ON_DATA,
}


def _print_claims(found: dict, whole: bool, where: Path) -> None:
    """A line for each source of claims, then where to read more; or all claims in full."""
    from analysis.report.page import by_source

    said = [(name, claim) for name, result in found.items() for claim in result.claims]
    if not said:
        return
    if whole:
        for name, claim in said:
            print(f"\n{name} ({claim.source})\n  claimed: {claim.claimed}")
            print(f"  {': '.join(filter(None, (claim.kind, claim.contrast)))}")
            if claim.found:
                print(f"  found:   {claim.found}")
            print(f"  -> {': '.join(filter(None, (claim.verdict, claim.why)))}")
    print("\nWhat is claimed, and what was found:\n")
    for group in by_source(claim for _, claim in said):
        print(f"{group.name}: {group.tally}")
    where /= f"{next(iter(found)) if len(found) == 1 else '*'}.json"
    print(f"\nEach claim with its numbers: {where}" + "; --claims prints all of them" * (not whole))


def _print_comparisons(found: dict) -> None:
    compared = {name: result.beside for name, result in found.items() if result.beside}
    if compared:
        print("\nWhat came out, beside the committed tables:\n")
    for name, words in compared.items():
        print(f"{name}: {words}")


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
