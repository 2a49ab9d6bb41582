"""The progress bar on standard error. It appears only on a terminal, after one second of work."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opis_cli.text import human_count

_PATIENCE = 1.0


def announcer(quiet: bool) -> Callable[[str], None]:
    """Return a function that prints a text on standard error, or ``silent`` if nobody reads it."""
    from opis_cli.counting.memory import silent

    if quiet or not _on_terminal():
        return silent
    return lambda text: print(text, file=sys.stderr)


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes ``(pairs counted, pairs in all)`` and shows them in a bar."""
    if quiet or not _on_terminal():
        yield lambda done, total: None
        return
    bar = _Bar()
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    """A progress bar that appears after one second."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            if time.monotonic() - self.started < _PATIENCE:
                return
            self.open(total)
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = f"{human_count(done / seconds)} pairs/s"
        self.bar.update(self.task, completed=done, total=total, rate=rate)

    def open(self, total: int) -> None:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("counting pairs"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.bar.add_task("count", total=total, rate="")
        self.bar.start()

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()
