"""What happens to emdref without PyTorch and without JAX."""

import subprocess
import sys

import pytest


def python(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_the_extra_is_named_in_one_line(name):
    run = python(f"import sys; sys.modules[{name!r}] = None; import emdref.{name}")
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: emdref.{name} needs the extra {name} (")
    assert last.endswith(f"pip install 'emdref[{name}]'")
