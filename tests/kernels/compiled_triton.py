"""What Triton's compiler makes of a kernel for a card, without that card."""

import pathlib
import re
import subprocess
from typing import NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


class Usage(NamedTuple):
    """Of a thread the registers and the bytes spilled, of a program shared memory."""

    registers: int
    spilled: int
    shared: int
    ptx: str


def compile_for(kernel, capability, types, constants, *, warps, stages, folder):
    """Compile a kernel; ``types`` are those of the parameters that are not floats."""
    names = [n for n in kernel.arg_names if n not in constants]
    signature = {n: types.get(n, "*fp32") for n in names}
    aligned = [["tt.divisibility", 16]]
    attributes = {
        (kernel.arg_names.index(n),): aligned
        for n in names
        if signature[n].startswith("*")
    }
    source = ASTSource(
        kernel,
        signature | dict.fromkeys(constants, "constexpr"),
        constexprs=constants,
        attrs=attributes,
    )
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    target = GPUTarget("cuda", capability, 32)
    compiled = triton.compile(source, target=target, options=options)
    return _usage(compiled.asm["ptx"], compiled.metadata.shared, folder)


def _usage(ptx, shared, folder):
    path = pathlib.Path(folder) / "kernel.ptx"
    path.write_text(ptx)
    (card,) = re.findall(r"^\.target (sm_\w+)", ptx, re.M)
    # The other one that comes with Triton is older than the language written here.
    name = "ptxas-blackwell"
    tool = pathlib.Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    command = [tool, "-v", f"--gpu-name={card}", path, "-o", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (registers,) = re.findall(r"Used (\d+) registers", done.stderr)
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill", done.stderr)))
    return Usage(int(registers), spilled, shared, ptx)
