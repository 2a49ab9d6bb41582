"""Estimate the memory that a count takes. Refuse work beyond the limit, and announce long work."""

from collections.abc import Callable

from opis_cli.counting.groups import MOST_GROUPS
from opis_cli.counting.tally import integers_for
from opis_cli.errors import SettingsError
from opis_cli.machine import processors, resident_memory
from opis_cli.records import Embeddings
from opis_cli.settings import Settings

Announce = Callable[[str], None]
"""A function that is called before long work, with a line on what it will take."""


def silent(text: str) -> None:
    """Announce nothing: nobody reads."""


_LONG_WORK = 2_000_000_000
"""Number of pairs from which work is announced."""


# Our own data sets needed 1,650 to 3,220.
_THRESHOLDS = 3_300
"""Assumed number of thresholds with counts by class."""


_SCORING_BYTES, _WORKER_BYTES = 150_000_000, 25_000_000
"""Bytes that scoring takes, and bytes that a counting thread takes. They are not held together."""


def memory_needed(embeddings: Embeddings, settings: Settings) -> int:
    """Estimate the bytes that the whole process will hold while it counts and then scores."""
    count, dim = len(embeddings.labels), embeddings.dim
    group, threads = settings.group_column, settings.threads or processors()
    names, keys = embeddings.class_names, embeddings.labels
    if group is not None:
        names, keys = embeddings.columns[group].names, embeddings.columns[group].codes + 1
    integers = sum(kind.itemsize for kind in integers_for(keys, embeddings.labels))
    # Each bit of a packed vector becomes a float32 number, which takes 32 times its memory.
    rows = count * (4 * dim + 40)
    tally = integers * len(names) * _THRESHOLDS
    if group is not None:
        # Counts by pair of groups, of which half are used, and rows in another order.
        tally += 2 * 8 * min(len(names), MOST_GROUPS) ** 2 * _THRESHOLDS
        rows += count * 4 * dim
    return int(resident_memory() + rows + tally + max(_SCORING_BYTES, threads * _WORKER_BYTES))


def refuse_memory(embeddings: Embeddings, settings: Settings, further: int = 0) -> None:
    """Raise a ``SettingsError`` if the work needs more memory than the limit.

    ``further`` is the number of bytes that the work holds beside those of a count.
    """
    needed = memory_needed(embeddings, settings) + further
    limit = settings.memory_limit_bytes
    if limit is not None and needed > limit:
        raise SettingsError(
            f"--memory-limit {settings.memory_limit}: {len(embeddings.labels):,} rows of "
            f"{len(embeddings.class_names):,} classes need about {needed / 1e9:.2g} GB"
            f"{_why(embeddings)}; raise the limit, or evaluate fewer classes at a time"
        )


def _why(embeddings: Embeddings) -> str:
    """Return why vectors of bits need so much."""
    return "" if embeddings.bits is None else " (a bit takes 4 bytes while it is compared)"


def announce_work(
    embeddings: Embeddings, settings: Settings, total: int, announce: Announce
) -> None:
    """Announce the pairs and the memory, if there is a memory limit or the work is long."""
    if settings.memory_limit is not None or total >= _LONG_WORK:
        needed = memory_needed(embeddings, settings)
        announce(f"{total:,} pairs to count, in about {needed / 1e9:.2g} GB of memory")
