"""What a record says of the machine."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

_ADD = """
define <8 x {kind}> @add(<8 x {kind}> %x, <8 x {kind}> %y) {{
  %z = {op} <8 x {kind}> %x, %y
  ret <8 x {kind}> %z
}}
"""
_WIDTHS = ((r"zmm\d", 512), (r"ymm\d", 256), (r"xmm\d|\bv\d+\.2d\b|\bq\d", 128))  # registers of x86 and of Arm
_X86 = {(512, 512): "AVX-512", (256, 256): "AVX2", (256, 128): "AVX", (128, 128): "SSE2"}  # floats, integers
NOTHING = "no vectors"


class Vectors(NamedTuple):
    """What compiled code has of a processor: its name to LLVM, its instructions, and how many bits loops use at once.

    LLVM prefers half of the width on some processors that have AVX-512; explicit vectors take what there is.
    """

    processor: str
    name: str
    bits: int

    def __str__(self) -> str:
        return f"{self.name}, loops by {self.bits} bits" if self.bits else self.name


def processor() -> str:
    """The name of this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def vectors() -> Vectors:
    """Of the code that Numba compiles here, which NUMBA_CPU_NAME and NUMBA_CPU_FEATURES may hold back."""
    from numba.core.registry import cpu_target

    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    return Vectors(name, instructions(name, features), width(_loop()))


def instructions(processor: str, features: str) -> str:
    """The vector instructions that LLVM has for a processor of that name, with those features more."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=processor, features=features, opt=3)
    floats, integers = (
        width(
            "\n".join(line for line in machine.emit_assembly(llvm.parse_assembly(code)).splitlines() if "add" in line)
        )
        for code in (_ADD.format(kind="double", op="fadd"), _ADD.format(kind="i64", op="add"))
    )
    if machine.triple.startswith(("aarch64", "arm")):
        return "NEON" if floats else NOTHING
    return _X86.get((floats, integers), NOTHING)


def width(assembly: str) -> int:
    """Bits of the widest vector registers named in assembly; 0 if none is.

    >>> width("vaddpd (%rdi), %ymm0, %ymm1"), width("fadd v0.2d, v0.2d, v1.2d"), width("ret")
    (256, 128, 0)
    """
    return next((bits for register, bits in _WIDTHS if re.search(register, assembly)), 0)


def _loop() -> str:
    """The machine code of a loop that LLVM turns into vectors."""
    from numba import njit

    @njit("void(float64[::1], float64[::1])")
    def add(x, y):  # type: ignore[no-untyped-def]
        for i in range(len(x)):
            x[i] += y[i]

    return str(next(iter(add.inspect_asm().values())))


def blas() -> str:
    """The library that NumPy multiplies matrices with, and the processor whose kernels it has chosen."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        import numpy as np

        return str(np.show_config("dicts")["Build Dependencies"]["blas"]["name"])
    found = (x for x in threadpool_info() if x["user_api"] == "blas" and "numpy" in x["filepath"].lower())
    found = [*found] or [x for x in threadpool_info() if x["user_api"] == "blas"]
    if not found:
        return "unknown"
    return " ".join(str(found[0].get(key) or "") for key in ("internal_api", "version", "architecture")).strip()
