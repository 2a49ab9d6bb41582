"""``opis doctor``: facts about this machine."""

import platform
import sys
from importlib import metadata, util

import opis_cli
from opis_cli.counting.engines import ENGINES, is_installed
from opis_cli.machine import processors, total_memory

_PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "numba",
    "matplotlib",
    "typer",
    "rich",
    "torch",
    "distributed",
)


def describe() -> dict[str, str]:
    """Return facts about this machine, by name."""
    memory = total_memory()
    facts = {
        "opis": opis_cli.__version__,
        "Python": f"{sys.version.split()[0]} ({sys.executable})",
        "system": platform.platform(),
        "processors": str(processors()),
        "memory": "unknown" if memory is None else f"{memory / 1e9:.1f} GB",
        "engines": ", ".join(name for name in ENGINES if is_installed(name)),
        "devices": ", ".join(_devices()),
        "matrix product": _blas(),
    }
    return facts | {name: metadata.version(name) for name in _PACKAGES if _installed(name)}


def _devices() -> list[str]:
    """Return the devices that ``--engine torch`` can use for counting."""
    if not is_installed("torch"):
        return ["none: --engine torch needs pip install 'opis-cli[torch]'"]
    import torch

    cards = range(torch.cuda.device_count())
    return ["cpu", *(f"cuda ({torch.cuda.get_device_name(card)})" for card in cards)]


def _blas() -> str:
    """Return the library that multiplies matrices for NumPy, and the processor that it detected."""
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    names = (
        f"{library['internal_api']} {library['version']} ({library.get('architecture', 'any')})"
        for library in found
    )
    return next(names, "unknown")


def _installed(package: str) -> bool:
    return util.find_spec(package) is not None
