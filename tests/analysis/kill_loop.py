"""Kills a sweep again and again and checks what is left.

``python tests/analysis/kill_loop.py [--kills 100] [--fresh]``: each round starts with no store.  A child process runs
the sweep and is killed with SIGKILL after a random time, until a child gets to the end.  After each kill every cell
that had been reported as stored must be in the store; after each round the CSV must be that of an uninterrupted run,
byte for byte.  Children are forks of one process, which saves the imports, or with ``--fresh`` processes of their own,
so that kills hit the imports too.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
GRID = [
    "sweep", "--chain", "60", "--lam", "0.1,1,10,100", "--cap", "3,30", "--dtype", "float64,float32",
    "--kernel", "dense,space", "--domain", "linear,log", "--pairs", "2", "--jobs", "2",
]  # fmt: skip


def command(out):
    return [*GRID, "--out", str(out)]


def child(out):
    """Run the sweep in this process and report each cell once it is stored."""
    from analysis import __main__ as program
    from analysis.engine.store import Store

    log = os.open(out.parent / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    put = Store.put

    def reported(self, cell, rows, seconds):
        put(self, cell, rows, seconds)
        os.write(log, cell.key().encode() + b"\n")

    Store.put = reported
    return program.main(command(out))


def start(out, fresh):
    """The child's process number; its output goes nowhere."""
    if fresh:
        arguments = [sys.executable, __file__, "--child", str(out)]
        return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid
    pid = os.fork()
    if pid == 0:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        tqdm.set_lock(threading.RLock())  # its own is shared among forks, and whoever is killed may hold it
        os._exit(child(out))
    return pid


def uninterrupted(out):
    """The same in this process, so that forks of it begin with everything loaded."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        if child(out):
            raise AssertionError("the sweep failed")


def finish(out, fresh):
    """Run to the end."""
    status = os.waitpid(start(out, fresh), 0)[1]
    if status:
        raise AssertionError(f"the sweep ended with status {os.waitstatus_to_exitcode(status)}")


def killed(pid, delay):
    """Whether the child had to be killed after `delay` seconds."""
    end = time.monotonic() + delay
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def reported_cells_are_stored(out):
    """No cell that was reported as stored is lost."""
    import sqlite3

    log = out.parent / "log"
    reported = set(log.read_text().split()) if log.exists() else set()
    if not reported:
        return 0
    connection = sqlite3.connect(out / "sweep.sqlite")
    stored = {key for (key,) in connection.execute("SELECT key FROM cells")}
    connection.close()
    if not reported <= stored:
        raise AssertionError(f"{len(reported - stored)} finished cells were lost")
    return len(stored)


def one_round(folder, fresh, longest, rng, left, expected):
    """Kill until a child gets to the end or `left` kills are used up, then let it finish; the number of kills."""
    out, kills = folder / "out", 0
    while kills < left:
        if not killed(start(out, fresh), longest * rng.random() ** 4):
            break
        kills += 1
        reported_cells_are_stored(out)
    finish(out, fresh)
    if (out / "sweep.csv").read_bytes() != expected:
        raise AssertionError("the resumed run gave another CSV than the uninterrupted one")
    return kills


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        sys.exit(child(options.child))
    longest = 6.0 if options.fresh else 1.5
    rng, kills, rounds = random.Random(options.seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name, "whole", "out")
        whole.parent.mkdir()
        begun = time.monotonic()
        if options.fresh:
            finish(whole, True)
        else:
            uninterrupted(whole)
        expected = (whole / "sweep.csv").read_bytes()
        while kills < options.kills:
            folder = Path(name, str(rounds))
            folder.mkdir()
            kills += one_round(folder, options.fresh, longest, rng, options.kills - kills, expected)
            rounds += 1
        seconds = time.monotonic() - begun
    print(f"{kills} kills in {rounds} sweeps and {seconds:.0f} s: no finished cell lost, every CSV the same")


if __name__ == "__main__":
    main()
