"""Numba's inner classes and functions that emdref uses: all of them are named here, and they are as they were.

Numba promises nothing about them, so that setup.cfg bounds its version.  A newer Numba that these tests and all others
pass with moves the bound: `linking._TRIED`, setup.cfg and packaging/conda/recipe.yaml.
"""

import ast
import configparser
import importlib
import inspect
import re
from pathlib import Path

import numba
import pytest

import emdref
from emdref.kernels.compile import linking

ROOT = Path(emdref.__file__).parents[1]
PUBLIC = {"numba", "numba.cuda", "numba.extending", "numba.types"}
USED = {  # by module; an empty signature is that of a class of which only the name is used
    "numba.core.caching": """
        CompileResultCacheImpl
        CompileResultCacheImpl.reduce(self, cres)
        CompileResultCacheImpl.rebuild(self, target_context, payload)
        FunctionCache.__init__(self, py_func)
        FunctionCache.load_overload(self, sig, target_context)
        FunctionCache.save_overload(self, sig, data)
        IndexDataCacheFile.__init__(self, cache_path, filename_base, source_stamp)
        IndexDataCacheFile.save(self, key, data)
        IndexDataCacheFile.load(self, key)
        IndexDataCacheFile._data_name(self, number)
        IndexDataCacheFile._load_data(self, name)
        IndexDataCacheFile._load_index(self)
        IndexDataCacheFile._save_data(self, name, data)
        IndexDataCacheFile._save_index(self, overloads)
        _CacheLocator.ensure_cache_path(self)
        _CacheLocator.from_function(py_func, py_file)
        _CacheLocator.get_cache_path(self)
        _CacheLocator.get_disambiguator(self)
        _CacheLocator.get_source_stamp(self)
    """,
    "numba.misc.appdirs": "AppDirs",
    "numba.core.codegen": """
        JITCodeLibrary
        JITCodeLibrary.finalize(self)
        JITCodeLibrary.get_pointer_to_function(self, name)
        JITCodeLibrary._ensure_finalized(self)
        JITCodeLibrary._get_module_for_linking(self)
        JITCodeLibrary._optimize_final_module(self)
        JITCodeLibrary._raise_if_finalized(self)
    """,
    "numba.core.compiler": """
        CompilerBase.define_pipelines(self)
        DefaultPassBuilder.define_nopython_pipeline(state, name='nopython')
    """,
    "numba.core.compiler_machinery": """
        FunctionPass.run_pass(self, *args, **kwargs)
        PassManager.add_pass_after(self, pass_cls, location)
        register_pass(mutates_CFG, analysis_only)
    """,
    "numba.core.typed_passes": "NoPythonSupportedFeatureValidation",
    "numba.core.dispatcher": """
        Dispatcher.compile(self, sig)
        Dispatcher.enable_caching(self)
        Dispatcher.get_call_template(self, args, kws)
        Dispatcher._compile_for_args(self, *args, **kws)
    """,
    "numba.core.cgutils": """
        get_or_insert_function(module, fnty, name)
        pointer_add(builder, ptr, offset, return_type=None)
    """,
    "numba.core.cpu": "CPUContext",
    "numba.core.base": """
        BaseContext.get_dummy_value(self)
        BaseContext.get_function(self, fn, sig, _firstcall=True)
        BaseContext.get_value_type(self, ty)
        BaseContext.pack_value(self, builder, ty, value, ptr, align=None)
        BaseContext.unpack_value(self, builder, ty, ptr, align=None)
    """,
    "numba.core.imputils": "lower_builtin(func, *argtys)",
    "numba.core.typing.templates": """
        AbstractTemplate
        infer_global(val=None, typ=None, **kwargs)
        signature(return_type, *args, **kws)
    """,
}
LINES = [(module, line.strip()) for module, lines in USED.items() for line in lines.strip().splitlines()]
DIFFERS = f"Numba {numba.__version__} has changed what emdref uses of its inside, see emdref/kernels: "


@pytest.mark.parametrize(("module", "line"), LINES)
def test_what_is_used_is_as_it_was(module, line):
    name, bracket, rest = line.partition("(")
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
        assert found is not None, f"{DIFFERS}there is no {module}.{name}"
    assert not bracket or str(inspect.signature(found)) == bracket + rest, f"{DIFFERS}{module}.{name}"


def test_what_is_imported_is_in_the_table():
    named = {(module, line.partition("(")[0].partition(".")[0]) for module, line in LINES}
    texts = {path: path.read_text("utf-8") for path in (ROOT / "emdref").rglob("*.py")}
    for path in [path for path, text in texts.items() if "numba" in text]:
        for node in ast.walk(ast.parse(texts[path])):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("numba"):
                for alias in node.names:
                    public = {node.module, f"{node.module}.{alias.name}"} & PUBLIC
                    inner = node.module, alias.name
                    module = f"{node.module}.{alias.name}"
                    assert public or inner in named or module in USED, f"{path}: {inner} is not in the table"
            elif isinstance(node, ast.Import):
                assert {x.name for x in node.names if x.name.startswith("numba")} <= PUBLIC, path


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_attributes_are_there_that_no_signature_shows():
    from numba.core.registry import cpu_target

    from emdref.kernels.trees.metric import distances_between as kernel

    library = cpu_target.target_context.codegen().create_library("of this test")
    attributes = {
        "a dispatcher": (kernel, ["py_func", "stats", "targetoptions", "_cache", "_insert"]),
        "a library": (library, ["_codegen", "_final_module", "_finalized", "_linking_libraries"]),
        "a context": (cpu_target.target_context, ["make_array", "codegen"]),
        "code generation": (cpu_target.target_context.codegen(), ["set_env"]),
        "a cache": (kernel._cache, ["_impl", "_cache_file"] if kernel._cache.cache_path else []),
    }
    for what, (x, names) in attributes.items():
        assert [name for name in names if not hasattr(x, name)] == [], f"{DIFFERS}attributes of {what}"


def test_the_bound_is_the_newest_numba_that_was_tried():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    (required,) = re.findall(r"^numba(.*)$", config["options"]["install_requires"], re.MULTILINE)
    (oldest, newest) = linking._TRIED
    assert required == f">={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"
    installed = tuple(map(int, numba.__version__.split(".")[:2]))
    assert oldest <= installed <= newest, f"Numba {numba.__version__} has not been tried: {__doc__}"
