"""The disk cache of machine code: where it lies, what it does without a place, and when it goes stale."""

import ast
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import emdref
from emdref.kernels.compile import jit

ROOT = Path(emdref.__file__).parents[1]
CALL = """\
import emdref
from emdref.kernels.rows import layers  # whose smallest kernel is compiled in a moment
assert emdref.losses.mse([1, 3], [1, 1])[0] == 2
print(sum(layers.mse.stats.cache_hits.values()))
"""


def folder(monkeypatch, value):
    monkeypatch.setenv("EMDREF_CACHE_DIR", str(value))
    return jit.cache_folder.__wrapped__()


SIBLINGS = """\
import sys, numpy as np, emdref
from emdref.entropic import gibbs
from emdref.kernels.entropic import products
np.seterr(all="ignore")
u = np.linspace(-1, 2, 18).reshape(6, 3)
for domain in sys.argv[1:]:
    kind = getattr(gibbs, "Space" + domain)(emdref.Chain(6), np.float64, 1.0, 0)
    print(domain, kind.cost(*([np.exp(u), np.exp(-u)] if domain == "Linear" else [u, -u])).tolist())
print(sum(products.linear_cost.stats.cache_hits.values()))
"""


def hits(cache):
    return int(printed(CALL, cache))


def printed(code, cache, *words, cwd=ROOT):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words],
        env={**os.environ, "EMDREF_CACHE_DIR": str(cache), "NUMBA_DISABLE_JIT": "0"},
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    ("variable", "told"),
    [("NUMBA_CPU_NAME", "generic"), pytest.param("NUMBA_CPU_FEATURES", "", marks=pytest.mark.slow)],
)
def test_the_folder_named_is_made_and_used_and_code_for_one_processor_is_not_anothers(
    variable, told, monkeypatch, tmp_path
):
    named = tmp_path / "made" / "here"
    assert hits(named) == 0
    assert {path.suffix for path in named.iterdir()} == {".nbi", ".nbc"}
    monkeypatch.setenv(variable, told)
    assert hits(named) == 0


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_folder_is_private(monkeypatch, tmp_path):
    made = folder(monkeypatch, tmp_path / "private")
    assert made == tmp_path / "private" and made.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("word", ["off", "OFF"])
def test_off_means_no_folder(monkeypatch, word):
    assert folder(monkeypatch, word) is None


def test_a_folder_that_cannot_be_made_means_none(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    assert folder(monkeypatch, tmp_path / "file" / "below") is None
    assert folder(monkeypatch, tmp_path / "file") is None


@pytest.mark.parametrize(("refused", "means"), [("R_OK", False), ("W_OK", True)])
def test_a_folder_that_cannot_be_read_means_none(refused, means, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & getattr(os, refused))  # root may do anything
    assert folder(monkeypatch, tmp_path) == (tmp_path if means else None)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_folder_of_another_user_means_none(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert folder(monkeypatch, tmp_path) is None


def test_a_folder_that_cannot_be_written_is_read(monkeypatch, tmp_path):
    assert hits_of_a_kernel(monkeypatch, tmp_path) == 0
    kept = sorted(tmp_path.iterdir())
    monkeypatch.setattr(jit._SourcesLocator, "ensure_cache_path", read_only)
    assert hits_of_a_kernel(monkeypatch, tmp_path) == 1
    assert hits_of_a_kernel(monkeypatch, tmp_path, 2.5) == 0  # compiled, and not kept
    assert sorted(tmp_path.iterdir()) == kept != []


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"no pickle"], ids=["empty", "other"])
def test_a_damaged_file_is_made_again(suffix, content, monkeypatch, tmp_path):
    hits_of_a_kernel(monkeypatch, tmp_path)
    (damaged,) = tmp_path.glob(f"*{suffix}")
    damaged.write_bytes(content)
    assert hits_of_a_kernel(monkeypatch, tmp_path) == 0
    assert hits_of_a_kernel(monkeypatch, tmp_path) == 1


def read_only(_):
    raise OSError(errno.EROFS, "Read-only file system")


def add_one(x):
    return x + 1


def hits_of_a_kernel(monkeypatch, cache, x=1):
    """How often a small kernel came out of a folder when it was called once, by a process that does not know it."""
    monkeypatch.setattr(jit, "cache_folder", lambda: cache)
    kernel = jit.loop(add_one)
    assert kernel(x) == x + 1
    return sum(kernel.stats.cache_hits.values())


def test_without_a_folder_kernels_compile_all_the_same(monkeypatch):
    monkeypatch.setattr(jit, "cache_folder", lambda: None)
    kernel = jit.loop(lambda x: x + 1)
    assert kernel(1) == 2


def stamps(package):
    """By kernel file of a copy of the package: the stamp of its machine code."""
    for cached in (jit._imported, jit._stamp):
        cached.cache_clear()
    files = sorted((package / "kernels").rglob("*.py"))
    return {str(path.relative_to(package / "kernels")): jit._stamp(path) for path in files}


def test_an_edit_of_one_kernel_file_makes_stale_what_uses_it_and_nothing_else(monkeypatch, tmp_path):
    """What uses it is told by Python: the modules that are imported with one."""
    package = tmp_path / "emdref"
    shutil.copytree(ROOT / "emdref" / "kernels", package / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(jit, "_ROOT", package)
    before = stamps(package)
    graph = {name: set(imports(ROOT / "emdref" / "kernels" / name)) for name in before}
    used = {name: users(dotted(name), graph) for name in before}
    for name in before:
        path = package / "kernels" / name
        text = path.read_text()
        path.write_text(text + "\n")
        changed = {other for other, stamp in stamps(package).items() if stamp != before[other]}
        path.write_text(text)
        assert changed == used[name], name
    assert used["rows/hessian_two_limbs.py"] == {"rows/hessian_two_limbs.py", "rows/loops.py", "cuda/rows.py"}
    for cached in (jit._imported, jit._stamp):
        cached.cache_clear()


def users(module, graph):
    """The kernel files that import a module, by the syntax tree, directly or through others; and its own."""
    found, grown = set(), {name for name in graph if dotted(name) == module}
    while grown:
        found |= grown
        grown = {name for name, used in graph.items() if used & set(map(dotted, grown))} - found
    return found


def dotted(name):
    return "emdref.kernels." + name.removesuffix(".py").replace("/", ".")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{x.name}" for x in node.names))


def test_an_edited_kernel_is_compiled_again_and_another_is_not(tmp_path):
    """Counted in a copy of the package with a file of its own for machine code."""
    shutil.copytree(ROOT / "emdref", tmp_path / "emdref", ignore=shutil.ignore_patterns("__pycache__"))
    cache, counted = tmp_path / "cache", []
    for edited in (None, "trees/heavy_paths", "rows/layers"):
        if edited:
            path = tmp_path / "emdref" / "kernels" / f"{edited}.py"
            path.write_text(path.read_text() + "\n# edited\n")
        counted.append(int(printed(CALL, cache, cwd=tmp_path)))
    assert counted == [0, 1, 0]


def test_functions_of_one_factory_have_names_of_their_own():
    def made(k):
        return jit.row(lambda x: x + k)

    assert len({made(k).py_func.__qualname__ for k in range(3)}) == 3


@pytest.mark.slow(instead="test_functions_of_one_factory_have_names_of_their_own")
def test_code_from_disk_never_calls_a_sibling_of_its_own_functions(tmp_path):
    """linear_cost and log_cost are closures of one factory, compiled here in the order that mixed them up."""
    linear, none = printed(SIBLINGS, tmp_path, "Linear").splitlines()
    _, again, one = printed(SIBLINGS, tmp_path, "Log", "Linear").splitlines()
    assert (none, one) == ("0", "1")
    assert again == linear


def named_files(folder, stamp="stamp"):
    return jit._NamedFiles(str(folder), "kernel", stamp)


def test_two_processes_that_save_at_a_time_keep_apart(monkeypatch, tmp_path):
    first, second = named_files(tmp_path), named_files(tmp_path)
    monkeypatch.setattr(first, "_load_index", dict)  # both have looked before either has saved
    monkeypatch.setattr(second, "_load_index", dict)
    first.save("float32", 32)
    second.save("float64", 64)
    assert named_files(tmp_path).load("float32") in (None, 32)  # lost, and compiled again, but never the other
    assert named_files(tmp_path).load("float64") == 64


def test_a_file_that_says_another_key_or_stamp_is_not_believed(tmp_path):
    files = named_files(tmp_path)
    for key in ("float32", "float64"):
        files.save(key, key)
    one, other = sorted(tmp_path.glob("*.nbc"))
    shutil.copy(one, other)
    assert {files.load("float32"), files.load("float64")} in ({None, "float32"}, {None, "float64"})
    files.save("float32", "old")
    index = (tmp_path / "kernel.nbi").read_bytes()
    named_files(tmp_path, "newer").save("float32", "new")
    (tmp_path / "kernel.nbi").write_bytes(index)
    assert files.load("float32") is None
