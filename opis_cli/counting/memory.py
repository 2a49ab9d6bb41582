"""How much memory a count takes: refused beyond the limit, and announced where work is long."""

from collections.abc import Callable

from opis_cli.errors import SettingsError
from opis_cli.machine import processors, resident_memory
from opis_cli.records import Embeddings
from opis_cli.settings import Settings

Announce = Callable[[str], None]
"""Told, before long work starts, what it will take."""


_LONG_WORK = 2_000_000_000


# A grid's thresholds with counts by class: 1,650 to 3,220 of sets of ours.
_THRESHOLDS = 3_300


_SCORING_BYTES, _WORKER_BYTES = 150_000_000, 25_000_000


def memory_needed(embeddings: Embeddings, settings: Settings) -> int:
    """Bytes that the whole process will hold, about, when it counts and then scores these pairs."""
    count, dim = embeddings.vectors.shape
    group, threads = settings.group_column, settings.threads or processors()
    names = embeddings.class_names if group is None else embeddings.columns[group].names
    rows = count * (4 * dim + 40)
    tally = 2 * 4 * len(names) * _THRESHOLDS
    return int(resident_memory() + rows + tally + max(_SCORING_BYTES, threads * _WORKER_BYTES))


def refuse_memory(embeddings: Embeddings, settings: Settings) -> None:
    """Refuse work that takes more memory than the limit, before it starts."""
    needed = memory_needed(embeddings, settings)
    limit = settings.memory_limit_bytes
    if limit is not None and needed > limit:
        raise SettingsError(
            f"--memory-limit {settings.memory_limit}: {len(embeddings.labels):,} rows of "
            f"{len(embeddings.class_names):,} classes need about {needed / 1e9:.2g} GB; "
            "raise the limit, or evaluate fewer classes at a time"
        )


def announce_work(
    embeddings: Embeddings, settings: Settings, total: int, announce: Announce
) -> None:
    """Say what the work takes, if that may matter."""
    if settings.memory_limit is not None or total >= _LONG_WORK:
        needed = memory_needed(embeddings, settings)
        announce(f"{total:,} pairs to count, in about {needed / 1e9:.2g} GB of memory")
