"""Processors and memory of this machine, and work on several threads."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import TypeVar

T = TypeVar("T")


def processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory() -> int | None:
    """Return the memory of this machine in bytes, or None if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def resident_memory() -> int:
    """Return the bytes of memory that this process holds now, or 0 if the system has no figure."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def on_threads(works: Sequence[Callable[[], T]], stop: Event) -> list[T]:
    """Run each work on a thread of its own, and return their results in order.

    A matrix product inside a work takes one thread. ``stop`` is set at the end. After a fault or
    Ctrl-C, it makes the other works stop, if they look at it between their steps.
    """
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(len(works)) as pool:
        jobs = [pool.submit(work) for work in works]
        try:
            return [job.result() for job in jobs]
        finally:
            stop.set()
