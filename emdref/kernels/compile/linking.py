"""How a function is compiled that only other compiled functions call.

Numba makes machine code of every function, with a way in for Python, and links the code before that, LLVM's, into the
functions that call it.  Of what Python never calls only the latter is wanted, and it need not be optimised as a whole
before the loop that it ends in is: the loops come out the same, and a first call takes half the time.

This needs a few of Numba's inner classes.  They are as used here from 0.60 to 0.68; with any other version functions
are compiled the ordinary way.
"""

from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NoPythonSupportedFeatureValidation

_TRIED = (0, 60), (0, 68)


def options() -> dict[str, Any]:
    """What `numba.njit` is told of a function that Python never calls."""
    version = tuple(map(int, numba.__version__.split(".")[:2]))
    parts = {"pipeline_class": _PartCompiler} if _TRIED[0] <= version <= _TRIED[1] else {}
    return {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **parts}


class _NoEnvironment:
    """A code generator without an environment of Python objects, which what Python cannot call does not have."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, env_name: Any, env: Any) -> None:
        pass


class _Part(JITCodeLibrary):
    """Code that waits for the functions that call it."""

    @property
    def codegen(self) -> _NoEnvironment:
        return _NoEnvironment(self._codegen)

    def finalize(self) -> None:
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            if hasattr(self, "_reload_init"):  # from 0.61 on
                self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0  # there is none


@register_pass(mutates_CFG=False, analysis_only=True)
class _AsPart(FunctionPass):
    """Says before a function is lowered where its code goes."""

    _name = "emdref_as_part"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


class _PartCompiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_AsPart, NoPythonSupportedFeatureValidation)
        passes.finalize()
        return [passes]
