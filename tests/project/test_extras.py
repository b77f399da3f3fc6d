"""What happens to emdref without PyTorch and without JAX."""

import importlib
import sys

import pytest


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_the_extra_is_named_in_one_line(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"emdref.{name}", raising=False)
    with pytest.raises(ImportError) as error:
        importlib.import_module(f"emdref.{name}")
    assert str(error.value).startswith(f"emdref.{name} needs the extra {name} (")
    assert str(error.value).endswith(f"pip install 'emdref[{name}]'")
