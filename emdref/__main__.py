"""`python -m emdref warm`: compile all of emdref's kernels now, not in the first call of each function."""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool

from emdref import warming


def main(words: "Sequence[str] | None" = None) -> int:
    """Do what the command line says; returns the exit code."""
    parser = argparse.ArgumentParser("python -m emdref", description="Ground truth for the Earth Mover's Distance.")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser(
        "warm",
        help="compile everything for this processor now, not in the first call of each function",
        description="Compile all kernels for the CPU, in as many processes as there are processors, and keep the "
        "machine code in the user's cache folder, or in the one that EMDREF_CACHE_DIR names.",
    )
    if parser.parse_args(words).command is None:
        parser.print_help()
        return 0
    try:
        print(_warmed())
    except KeyboardInterrupt:
        return _failed("stopped; what was compiled is kept, and the same command goes on", 130)
    except ValueError as error:
        return _failed(error, 2)
    except (OSError, BrokenProcessPool) as error:
        return _failed(f"{error}; what was compiled is kept, and the same command goes on", 1)
    return 0


def _warmed() -> str:
    start, folder = time.perf_counter(), warming.place()
    count = warming.warm()
    files = [path.stat().st_size for path in folder.glob("*.nb[ic]")]
    found = f"{count} specialisations compiled" if count else "nothing was missing"
    return (
        f"{found} in {time.perf_counter() - start:.0f} s: {folder} holds {len(files)} files, {sum(files) / 1e6:.1f} MB"
    )


def _failed(why: object, code: int) -> int:
    print(f"emdref: {why}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
