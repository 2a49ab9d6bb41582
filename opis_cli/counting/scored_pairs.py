"""Read scored pairs for the first time. A matcher gives their scores, so there are no embeddings.

The pairs are never held all at once, so the files are read twice. The first reading, here, keeps a
sample of genuine pairs and one of impostor pairs. The samples show where thresholds belong, and
whether a higher score is closer. The second reading (``scored_counts.py``) counts the pairs at
these thresholds. If a higher score is closer, its negative is taken as the distance. So a pair is
accepted if and only if ``d <= t``, as everywhere.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli import decimals
from opis_cli.counting.scored_table import Table, open_table
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.embeddings.folders import digest_of
from opis_cli.embeddings.sources import Given, all_fetched
from opis_cli.errors import InputError, SettingsError
from opis_cli.records import Ints
from opis_cli.settings import Metric, Settings

Doubles = NDArray[np.float64]
_SURE = 0.75
"""Share of genuine pairs that must lie on one side of impostor pairs to tell the direction."""

Progress = Callable[[int, int], None]
"""A function that is called with ``(pairs read, pairs to read)``, where each is read twice."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What the first reading of scored pairs found.

    Attributes
    ----------
    table : Table
        The pairs, to be read again.
    sha256 : str
        Digest of the files.
    sign : {1, -1}
        Factor that turns a score into a distance.
    metric : {"distance", "score"}
        "distance" if a lower score is closer, "score" if a higher score is closer.
    genuine, impostor : ndarray, float64
        Sorted distances of a sample of genuine pairs, and of a sample of impostor pairs.
    whole : bool
        Whether the two samples hold all pairs.
    least, most : float
        The smallest and the largest distance of all pairs.
    scored_shares : ndarray of shape (2,), float64
        Shares of the genuine and of the impostor pairs that have a score. The others are never
        accepted. 1 if they were left out.
    rows, dropped_rows : int
        Number of pairs that are used, also of those without a score, and number of bad ones that
        were left out on request.
    names : ndarray of shape (K,)
        Names of the groups, sorted.
    group_sizes : ndarray of shape (K,), int64
        Number of pairs of each group, also of those without a score.
    """

    table: Table
    sha256: str
    sign: int
    metric: Metric
    genuine: Doubles
    impostor: Doubles
    whole: bool
    least: float
    most: float
    scored_shares: Doubles
    rows: int
    dropped_rows: int
    names: NDArray[Any]
    group_sizes: Ints

    @property
    def nothing(self) -> float:
        """A threshold below all pairs; it is 0 if the scores are distances of at least 0."""
        if self.metric == "distance" and self.least >= 0:
            return 0.0
        step = (self.most - self.least) / 20 or max(abs(self.least), 1.0) / 20
        return decimals.shortest(self.least - 2 * step, self.least - step)


@contextmanager
def read(
    source: Given,
    settings: Settings,
    progress: Progress = lambda done, total: None,
    sizes: Sizes = SIZES,
) -> Iterator[Scored]:
    """Read scored pairs for the first time. They can be counted while the context lasts.

    Parameters
    ----------
    source : path, or sequence of paths
        Parquet, CSV or TSV, a folder of Parquet parts, a pattern of such files, or an address.
    settings : Settings
    progress : callable
        Called with (pairs read, pairs to read). The second number is a guess until all pairs were
        read once.
    sizes : Sizes
        Numbers of pairs that are read and held at a time.

    Raises
    ------
    InputError
        A file is unreadable, a column is missing or of another type, there are bad rows that are
        not to be dropped, or there are no genuine or no impostor pairs.
    SettingsError
        The data do not show whether a higher score is closer, or a setting contradicts them.
    """
    with all_fetched(source) as files:
        table = open_table(
            files,
            settings.score_column,
            settings.label_column,
            settings.group_column,
            sizes.batch_rows,
        )
        yield _survey(table, digest_of(table.files), settings, progress, sizes.sampled_scores)


class _Sample:
    """A uniform sample of a stream of numbers. It holds all numbers while they are few.

    Every number gets a random mark, and the sample keeps the numbers whose mark is below a share.
    The share is halved whenever the sample grows too large.
    """

    def __init__(self, seed: int, most: int) -> None:
        self.random, self.most = np.random.default_rng(seed), most
        self.share, self.size = 1.0, 0
        self.parts: list[tuple[Doubles, Doubles]] = []

    def add(self, values: Doubles) -> None:
        """Add numbers to the stream, and keep those whose random mark is below the share."""
        marks = self.random.random(len(values))
        kept = marks < self.share
        self.parts.append((values[kept], marks[kept]))
        self.size += int(np.count_nonzero(kept))
        while self.size > self.most:
            self.share /= 2
            self.parts = [(v[m < self.share], m[m < self.share]) for v, m in self.parts]
            self.size = sum(len(values) for values, _ in self.parts)

    @property
    def values(self) -> Doubles:
        """The numbers in the sample."""
        return np.concatenate([values for values, _ in self.parts])


def _survey(table: Table, sha256: str, settings: Settings, progress: Progress, held: int) -> Scored:
    """Read all pairs once, and collect what ``Scored`` holds."""
    samples = _Sample(settings.seed, held), _Sample(settings.seed + 1, held)
    numbers, unscored, dropped = np.zeros(2, np.int64), np.zeros(2, np.int64), 0
    least, most, missing = np.inf, -np.inf, settings.without_score
    group_sizes = np.zeros(len(table.names), np.int64)
    for batch in table.batches(drop=settings.on_bad_rows == "drop"):
        dropped += batch.dropped
        for groups in (*batch.groups, *batch.unscored_groups):
            group_sizes += np.bincount(groups, minlength=len(group_sizes))
        unscored += batch.unscored
        if not len(batch.scores):
            continue
        least, most = min(least, batch.scores.min()), max(most, batch.scores.max())
        for k, kept in enumerate((batch.genuine, ~batch.genuine)):
            numbers[k] += np.count_nonzero(kept)
            samples[k].add(batch.scores[kept])
        done = int(numbers.sum())
        progress(done, done + max(table.rows, done))
    if unscored.any() and missing == "error":
        raise InputError(
            f"{table.where}: {unscored[0]:,} genuine and {unscored[1]:,} impostor pairs have no "
            f"score in column {table.score!r}; give a score to each, count these pairs as never "
            "accepted with --missing-score=reject, or leave them out with --missing-score=drop, "
            "where figures say nothing of them"
        )
    for kind, number in zip(("genuine", "impostor"), numbers, strict=True):
        if not number:
            scored = " that have a score" if unscored.any() else ""
            raise InputError(
                f"{table.where}: no {kind} pair among {numbers.sum():,}{scored}; column "
                f"{table.genuine!r} says which are genuine"
            )
    if missing == "drop":
        dropped, unscored = dropped + int(unscored.sum()), np.zeros(2, np.int64)
    sign = _sign(table, samples[0].values, samples[1].values, settings)
    low, high = sorted((sign * float(least), sign * float(most)))
    return Scored(
        table=table,
        sha256=sha256,
        sign=sign,
        metric="distance" if sign == 1 else "score",
        genuine=np.sort(sign * samples[0].values),
        impostor=np.sort(sign * samples[1].values),
        whole=all(sample.share == 1.0 for sample in samples),
        least=low,
        most=high,
        scored_shares=numbers / (numbers + unscored),
        rows=int(numbers.sum() + unscored.sum()),
        dropped_rows=dropped,
        names=table.names,
        group_sizes=group_sizes,
    )


def _sign(table: Table, genuine: Doubles, impostor: Doubles, settings: Settings) -> int:
    """Return 1 if a lower score is closer, else -1.

    The name "distance" of the column decides first, then the option, and then the data.
    """
    asked = settings.higher_is_closer
    impostor = np.sort(impostor)
    below = np.searchsorted(impostor, genuine, "left") + np.searchsorted(impostor, genuine, "right")
    higher = float(below.mean() / (2 * len(impostor)))
    if table.score == "distance":
        if asked is None and higher >= _SURE:
            raise InputError(
                f"{table.where}: in column 'distance', genuine pairs lie above impostors "
                f"{100 * higher:.0f} % of the time, as similarities do; call it 'score', or give "
                "--lower-is-closer if these are distances"
            )
        if asked:
            raise SettingsError(
                f"--higher-is-closer: {table.where} has the column 'distance', and a distance is "
                "lower for closer pairs; call the column 'score'"
            )
        return 1
    if asked is not None:
        return -1 if asked else 1
    if max(higher, 1 - higher) < _SURE:
        raise SettingsError(
            f"{table.where}: column {table.score!r} does not show whether a higher score is "
            f"closer: genuine pairs score higher than impostors {100 * higher:.0f} % of the time. "
            "Give --higher-is-closer or --lower-is-closer"
        )
    return -1 if higher > 0.5 else 1
