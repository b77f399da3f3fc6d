"""PTX of kernels, compiled without a device, and what tests search in it.

NVVM contracts a product and a sum into one fma; what it leaves as ``mul`` and ``add`` without a rounding mode the
assembler may still contract.  So a kernel is contracted nowhere if NVVM finds as many fma with contraction forbidden,
and if no product without a rounding mode goes into a sum without one.  A product by a power of two is exact, and may.
That this search tells the truth is proven with the assembler at hand: fma are counted in its machine code.

libdevice's own exp, log and pow use approximate instructions by design, with errors that NVIDIA states: for a kernel
that calls them the search goes through code in which they are calls, not the instructions that they consist of.
"""

import functools
import importlib.util
import math
import re
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import NamedTuple
from unittest import mock

import numba

CAPABILITIES = (7, 5), (9, 0)
PLAIN = {  # functions of libdevice that are an instruction or exact
    *("fabs", "fabsf", "copysign", "copysignf", "ldexp", "ldexpf", "scalbn", "scalbnf", "frexp", "frexpf"),
    *("isnand", "isnanf", "isinfd", "isinff", "finitef", "isfinited", "fmax", "fmaxf", "fmin", "fminf"),
    *("sqrt", "sqrtf", "fma", "fmaf", "floor", "floorf", "ceil", "ceilf", "max", "min", "abs", "llmax", "llmin"),
}


@functools.cache
def missing():
    """Why nothing can be compiled to PTX here, or ""."""
    if numba.config.ENABLE_CUDASIM or numba.config.DISABLE_JIT:
        return "nothing is compiled with NUMBA_DISABLE_JIT or in the simulator"
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed: python3 -m pip install --editable '.[test-gpu]'"
    from numba.cuda.cudadrv import nvvm

    return "" if nvvm.is_available() else "NVVM is not installed: pip install 'numba-cuda[cu13]'"


def architecture(capability):
    """What NVIDIA calls it."""
    return "sm_{}{}".format(*capability)


# --- compiling --------------------------------------------------------------------------------------------------------


_workers = ThreadPoolExecutor(2)  # NVVM works while Python is busy with the next kernel


class Code:
    """PTX of one kernel for one processor, in three ways, each made once."""

    def __init__(self, modules, options, capability):
        self._modules, self._made = modules, {}
        self._options = {**options, "arch": architecture(capability).replace("sm", "compute")}
        self.libdevice = set(re.findall(r'declare [^\n]*@"?__nv_(\w+)', "\n".join(modules)))
        self.inlined = not self.libdevice - PLAIN

    @property
    def whole(self):
        """What is loaded."""
        return self.begin(True).result()

    @property
    def own(self):
        """The same, but functions of libdevice that approximate are calls."""
        return self.begin(self.inlined).result()

    @property
    def uncontracted(self):
        """Own code with contraction forbidden."""
        return self.begin(self.inlined, fma=False).result()

    def begin(self, inlined, **options):
        """Start making it, with libdevice or without."""
        key = inlined, *options.items()
        if key not in self._made:
            self._made[key] = _workers.submit(self._text, inlined, options)
        return self._made[key]

    def _text(self, inlined, options):
        from numba.cuda.cudadrv import nvvm

        unit = nvvm.CompilationUnit({**self._options, **options})
        for module in self._modules:
            unit.add_module(nvvm.llvm_replace(module).encode())
        unit.verify()
        if inlined:
            unit.lazy_add_module(nvvm.LibDevice().get())
        return unit.compile().decode().strip("\0")


@functools.cache
def compiled(function, types):
    """{(major, minor): Code} of a kernel, or of a plain function that could be one."""
    from numba import cuda
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import nvvm

    nobody = SimpleNamespace(compute_capability=CAPABILITIES[-1])
    with (
        mock.patch.object(nvvm, "compile_ir", return_value=b"") as compiler,
        mock.patch.object(dispatcher, "get_current_device", return_value=nobody),
    ):
        cuda.compile_ptx(getattr(function, "py_func", function), types, cc=CAPABILITIES[-1])
    (modules,), options = compiler.call_args
    options.pop("fastmath")
    codes = {cc: Code(modules, options, cc) for cc in CAPABILITIES}
    newest = codes[CAPABILITIES[-1]]
    newest.begin(newest.inlined)  # the others may not be asked for
    return codes


# --- searching --------------------------------------------------------------------------------------------------------

_INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?([a-z][\w.:]*)\s+([^;{]*);", re.M)
_APPROXIMATE = re.compile(r"\.(?:approx|full)\b")


def instructions(ptx):
    """(name, [operands]) one after the other."""
    for name, operands in _INSTRUCTION.findall(ptx):
        yield name, [x.strip() for x in operands.split(",")]


def approximations(ptx):
    """Names of the instructions that flush subnormals to zero, or are not correctly rounded."""
    return {name for name, _ in instructions(ptx) if ".ftz" in name or _APPROXIMATE.search(name)}


def double_arithmetic(ptx):
    """Names of the instructions that compute, compare or convert in float64."""
    moves = ("ld.", "st.", "mov.", "selp.")
    return {name for name, _ in instructions(ptx) if ".f64" in name and not name.startswith(moves)}


def local_bytes(ptx):
    """Bytes of thread-local arrays, which live in global memory."""
    return sum(int(n) for n in re.findall(r"\.local[^;\n]*\.b8[^;\n]*\[(\d+)\]", ptx))


def _constant(operand):
    """The number that an operand writes out, or None."""
    if operand.startswith("0d"):
        return struct.unpack(">d", bytes.fromhex(operand[2:]))[0]
    return struct.unpack(">f", bytes.fromhex(operand[2:]))[0] if operand.startswith("0f") else None


def _scales(operands):
    """True where one factor is a power of two."""
    return any(abs(math.frexp(x)[0]) == 0.5 for x in map(_constant, operands) if x is not None)


def fused(ptx):
    """How many fma of each kind there are, but for those in which contraction changes nothing."""
    return Counter(name for name, x in instructions(ptx) if name.startswith("fma.") and not _scales(x[1:3]))


_PRODUCT, _COPY, _SUM = (re.compile(rf"(?:{names})\.f(?:32|64)") for names in ("mul", "mov|neg", "add|sub"))
_END_OF_BLOCK = re.compile(r"^\$\w+:|^\s*(?:@!?%p\d+\s+)?bra\b[^;]*;", re.M)


def _opens(name, operands, products):
    """True for a product that has no rounding mode and is not exact, and for a copy of one."""
    if _COPY.fullmatch(name):
        return operands[1] in products
    return bool(_PRODUCT.fullmatch(name)) and not _scales(operands[1:])


def open_products(ptx):
    """Sums, as text, that the assembler may contract with a product: of the same block, or written in one place."""
    code = list(instructions(ptx))
    written, everywhere, size = Counter(x[0] for _, x in code), set(), -1
    while size < len(everywhere):
        size = len(everywhere)
        everywhere |= {x[0] for name, x in code if written[x[0]] == 1 and _opens(name, x, everywhere)}
    found = []
    for block in _END_OF_BLOCK.split(ptx):
        here = set(everywhere)
        for name, x in instructions(block):
            if _SUM.fullmatch(name) and here & set(x[1:]):
                found.append(f"{name} {', '.join(x)}")
            (here.add if _opens(name, x, here) else here.discard)(x[0])
    return found


def contractions(code):
    """What is contracted, or may be, in a Code."""
    extra = fused(code.own)
    extra.subtract(fused(code.uncontracted))
    return [f"{n} {name} more than written" for name, n in extra.items() if n > 0] + open_products(code.own)


# --- machine code -----------------------------------------------------------------------------------------------------


class Machine(NamedTuple):
    """What an assembler makes of PTX."""

    fused: int  # instructions that are fma
    registers: int  # a thread
    spilled: int  # bytes that a thread stores for want of registers


@functools.cache
def no_assembler():
    """Why PTX cannot be assembled here, or ""."""
    try:
        from cuda.bindings import nvjitlink

        nvjitlink.version()
    except Exception as error:  # no package, no library, or one of another kind
        return f"nvJitLink cannot be used ({error})"
    return ""


def stand_ins(ptx):
    """PTX of functions that do nothing, for those that are called but not there."""
    head = "".join(re.findall(r"^\.(?:version|target|address_size) .*\n", ptx, re.M))
    called = re.findall(r"^\.extern (\.func [^;]*);", ptx, re.M)
    return head + "".join(f".visible {x}{{\n\tret;\n}}\n" for x in called)


def assembled(ptx, capability, *options):
    """PTX as machine code for a processor."""
    from cuda.bindings import nvjitlink as linker

    options = [f"-arch={architecture(capability)}", "-verbose", *options]
    handle = linker.create(len(options), options)
    for name, text in (("kernel", ptx), ("stand-ins", stand_ins(ptx))):
        linker.add_data(handle, linker.InputType.PTX, text.encode(), len(text), name)
    linker.complete(handle)
    elf = bytearray(linker.get_linked_cubin_size(handle))
    log = bytearray(linker.get_info_log_size(handle))
    linker.get_linked_cubin(handle, elf)
    linker.get_info_log(handle, log)
    linker.destroy(handle)
    return Machine(sum(map(_fused, _code_sections(bytes(elf)))), *_resources(log.decode()))


def _resources(log):
    registers = re.findall(r"Used (\d+) registers", log)
    spills = re.findall(r"(\d+) bytes spill stores", log)
    return max(map(int, registers)), max(map(int, spills))


def _fused(code):
    """Instructions of 128 bits whose operation is FFMA or DFMA, whatever the form of their operands."""
    operations = (int.from_bytes(code[at : at + 2], "little") & 0x1FF for at in range(0, len(code), 16))
    return sum(operation in (0x023, 0x02B) for operation in operations)


def _code_sections(elf):
    """The machine code in a 64-bit ELF file, section by section."""
    table = struct.unpack_from("<Q", elf, 40)[0]
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + i * size) for i in range(count)]
    start = headers[names][4]

    def name(header):
        return elf[start + header[0] : elf.index(b"\0", start + header[0])].decode()

    return [elf[x[4] : x[4] + x[5]] for x in headers if name(x).startswith(".text")]


def contracted_by_assembler(ptx, capability):
    """True where forbidding contraction leaves fewer fma in the machine code."""
    return assembled(ptx, capability).fused > assembled(ptx, capability, "-Xptxas=--fmad=false").fused
