"""`python -m emdref warm` compiles all that any call needs, and no kernel is compiled more than once a dtype."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numba
import pytest

import cases
import emdref
from emdref import __main__ as program
from emdref import exact, losses, normalize, warming
from emdref.kernels.compile import jit

ROOT = Path(emdref.__file__).parents[1]
EVERY_CALL = Path(__file__).with_name("every_call.py")
compiles = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT) or jit.cache_folder() is None, reason="nothing is compiled, or nothing is kept"
)


def types():
    """{kernel: (types that warming compiles, all types that every call needed)}."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, EVERY_CALL], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@compiles
def test_after_warming_no_call_compiles_anything():
    """And what is compiled is compiled once a dtype, not again for rows that can be written to, or for a literal."""
    every = types()
    assert len(every) > 30
    assert not [name for name, (_, needed) in every.items() if not needed]
    late = {name: set(needed) - set(warmed) for name, (warmed, needed) in every.items()}
    assert not {name: found for name, found in late.items() if found}
    for name, (_, needed) in every.items():
        single = [x for x in needed if "float32" in x]
        assert len(single) <= 1 and len(needed) - len(single) <= 1, (name, needed)


def test_every_public_function_is_called():
    """... by the script of which the tests above take the types."""
    source = EVERY_CALL.read_text()
    for module in (emdref, exact, losses, normalize):
        functions = [name for name in module.__all__ if name.islower() and callable(getattr(module, name))]
        prefix = module.__name__.rpartition(".")[2]
        assert functions and not [name for name in functions if f"{prefix}.{name}" not in source]


@compiles
def test_it_says_where_and_how_much(tmp_path, monkeypatch, capsys):
    """For one group, in a copy of the folder: what runs beside may write into the other."""
    folder = shutil.copytree(jit.cache_folder(), tmp_path / "kernels")
    monkeypatch.setenv("EMDREF_CACHE_DIR", str(folder))
    monkeypatch.setattr(jit, "cache_folder", jit.cache_folder.__wrapped__)
    monkeypatch.setattr(warming, "GROUPS", {"layers and losses": None})  # known to the process that compiles
    for path in folder.glob("layers.mse-*"):
        path.unlink()
    for said in (" specialisations compiled in ", "nothing was missing in "):
        assert program.main(["warm"]) == 0
        out, error = capsys.readouterr()
        assert said in out and "1/1 [" in error
        files = list(folder.glob("*.nb[ic]"))
        assert f" s: {folder} holds {len(files)} files, " in out and out.endswith(" MB\n")


@pytest.mark.parametrize(
    ("folder", "uncompiled", "why"),
    [
        ("off", False, "EMDREF_CACHE_DIR=off keeps no compiled code"),
        (__file__, False, f"the folder EMDREF_CACHE_DIR={__file__} cannot be written to"),
        ("", True, "NUMBA_DISABLE_JIT is set"),
    ],
    ids=["off", "no folder", "no compiler"],
)
def test_where_nothing_can_be_kept_one_sentence_says_so(folder, uncompiled, why, monkeypatch, capsys):
    monkeypatch.setenv("EMDREF_CACHE_DIR", folder)
    monkeypatch.setattr(jit, "cache_folder", jit.cache_folder.__wrapped__)
    monkeypatch.setattr(numba.config, "DISABLE_JIT", uncompiled)
    assert program.main(["warm"]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith(f"emdref: {why}") and error.count("\n") == 1


def test_usage(capsys):
    assert program.main([]) == 0
    assert "usage: python -m emdref" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "code"), [(("--help",), 0), (("cool",), 2), (("warm", "now"), 2)])
def test_more_usage(words, code, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(words)
    assert stop.value.code == code
    assert "usage: python -m emdref" in capsys.readouterr()[code > 0]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to interrupt")
@pytest.mark.parametrize("after", [0.2, pytest.param(2.0, marks=pytest.mark.slow)])  # s: processes start, or compile
def test_it_can_be_stopped(after, tmp_path):
    code = f"{cases.HEED_CTRL_C}import runpy; runpy.run_module('emdref', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", code, "warm"]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "0", "EMDREF_CACHE_DIR": str(tmp_path)}
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipe) as process:
        process.stderr.readline()  # the bar is drawn
        time.sleep(after)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)  # for what is being compiled; all takes longer
    assert process.returncode == 130
    assert error.endswith("emdref: stopped; what was compiled is kept, and the same command goes on\n")
    assert "Traceback" not in error
