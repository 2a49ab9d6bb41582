"""The numeric tests, run as on other processors: ``python tests/kernels.py``.

NumPy's OpenBLAS has a kernel of the matrix product for each family of x86-64 processors, and takes
another than this machine's where it is told to. So does Numba for compiled code, and NumPy for its
own loops. They round otherwise, which must not change what a test says. Each kernel has processes
of its own, and a line that tells how it went. ``test_kernels.py`` tests the choice.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

KERNELS = {"Prescott": "SSE3", "Nehalem": "SSE42", "Haswell": "AVX2", "SkylakeX": "AVX512F"}
"""Kernels, and what a processor must have to run them."""
TURNS = ("Prescott", "Nehalem")
"""Kernels of old processors, of which each day one is tested: each takes four minutes."""
PROBE = """
import json
import numpy
import numpy._core._multiarray_umath as loops
from opis_cli.counting.engines.numba_simd import COMPRESSES
from threadpoolctl import threadpool_info

has = loops.__cpu_features__
print(json.dumps({
    "has": [name for name in has if has[name]],
    "loops": [name for name in loops.__cpu_dispatch__ if has[name]],
    "blas": [one.get("architecture") for one in threadpool_info() if one["user_api"] == "blas"],
    "compresses": bool(COMPRESSES),
}))
"""


def probe(**variables: str) -> dict[str, Any]:
    """What NumPy, its OpenBLAS and our compiled code are in a new process."""
    words = [sys.executable, "-c", PROBE]
    done = subprocess.run(words, env=os.environ | variables, capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def plan(
    machine: str, own: dict[str, Any], day: int
) -> Iterator[tuple[str, dict[str, str] | str | None]]:
    """Each kernel with its variables, or with the reason why it cannot be tested here.

    None stands for the kernel of this machine: all other runs of the tests have it. ``day`` is the
    number of the day, which says whose turn it is among ``TURNS``.
    """
    if machine.lower() not in ("x86_64", "amd64"):
        yield "kernels of x86-64", f"the processor is {machine}"
        return
    if not any(own["blas"]):
        yield "kernels of OpenBLAS", "NumPy has another library"
        return
    for kernel, needed in KERNELS.items():
        variables = {"OPENBLAS_CORETYPE": kernel}
        if kernel == "Prescott":
            # Compiled code and NumPy too as on any x86-64 processor. AVX-512 has an instruction
            # for the list of pairs (numba_simd.py): this is the way without it.
            variables["NUMBA_CPU_NAME"] = "generic"
            variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(own["loops"])
        if kernel in own["blas"]:
            yield kernel, None
            continue
        if kernel in TURNS and kernel != TURNS[day % len(TURNS)]:
            yield kernel, "it has its turn on another day"
            continue
        missing = needed not in own["has"]
        yield kernel, f"this processor has no {needed}" if missing else variables
    if not own["compresses"]:
        yield "list of pairs by AVX-512 compress", "this processor has no AVX-512 VBMI2"


def main() -> int:
    """Run the tests with each kernel; 1 if some failed."""
    lines, taken = [], []
    for name, found in plan(platform.machine(), probe(), date.today().toordinal()):
        if found is None:
            lines.append(f"{name}: this machine's own, as in all other runs of the tests")
            continue
        if isinstance(found, str):
            lines.append(f"{name}: UNTESTED here, as {found}")
            continue
        told = probe(**found)
        shown = " ".join(f"{key}={value!r}" for key, value in found.items())
        print(f"+ {shown} pytest -m numeric", flush=True)
        words = [sys.executable, "-m", "pytest", "-q", "-m", "numeric"]
        root = Path(__file__).parents[1]
        done = subprocess.run(words, env=os.environ | found, cwd=root, check=False)
        passed = done.returncode == 0 and told["blas"] not in taken
        taken.append(told["blas"])
        compressed = "with" if told["compresses"] else "without"
        lines.append(
            f"{name}: {'passed' if passed else 'FAILED'}, OpenBLAS calls it {told['blas'][0]}; "
            f"{compressed} AVX-512 compress"
        )
    print("\n".join(f"kernels: {line}" for line in lines))
    return int(any("FAILED" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
