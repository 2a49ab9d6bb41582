"""Say what counting all pairs will take, and offer a sample that takes seconds."""

import math

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.memory import Announce, silent
from opis_cli.counting.plan import Plan
from opis_cli.counting.prepared import Prepared
from opis_cli.counting.speed import pairs_per_second
from opis_cli.embeddings.sampling import TooFew, Units, draw
from opis_cli.records import Ints
from opis_cli.settings import Settings
from opis_cli.text import duration, human_count

Curves = NDArray[np.float64]

LONG, _SHORT = 20.0, 10.0
"""Seconds from which a sample is offered, and seconds that the offered one takes."""
_LEAST_WORK = 100_000_000_000
"""Least pairs times dimensions that might take so long, on a slow processor."""
_LOOKED_AT = 2_000
"""Rows of the drawn classes whose errors show how precise a sample is."""
_LEAST_ERRORS = 50
"""Fewest errors among them that show it."""
_NORMAL = 1.96
"""Standard errors on each side of a 95 % interval."""


def offer_sample(work: Prepared, announce: Announce) -> None:
    """Announce the time that counting all pairs takes, and a sample, if that time is long."""
    plan, settings = work.plan, work.settings
    dim, classes = work.embeddings.dim, len(work.embeddings.class_names)
    if announce is silent or plan.pairs * dim < _LEAST_WORK or work.engine == "dask":
        return
    if settings.max_pairs is not None or settings.time_limit is not None:
        return
    per_class = len(plan.truth) / classes
    rate = pairs_per_second(dim, per_class, settings, work.engine, work.threads, announce)
    line = offered(plan, settings, rate)
    if line is not None:
        announce(line)


def offered(plan: Plan, settings: Settings, rate: float) -> str | None:
    """Return the line of the offer, or None if all pairs take little time.

    Parameters
    ----------
    plan : Plan
    settings : Settings
    rate : float
        Pairs that are counted in a second.
    """
    seconds = plan.pairs / rate
    if seconds < LONG:
        return None
    line = f"counting all {human_count(plan.pairs)} pairs takes about {duration(seconds)}"
    pairs = _one_digit(min(rate * _SHORT, plan.pairs / 10))
    drawn = None if settings.ignored_label[1] else _drawn(plan, settings, pairs)
    if drawn is None:
        return line
    line += f"; --max-pairs={pairs:.0e}".replace("e+0", "e").replace("e+", "e")
    line += f" takes about {duration(pairs / rate)}"
    error = _relative_error(plan, settings, drawn)
    if error is None:
        return line
    if error[1] >= 1:
        return f"{line}, but has too few classes to tell the {error[0]}"
    return f"{line}, and gives the {error[0]} to within ±{_percent(error[1])} of its value"


def _one_digit(value: float) -> float:
    """Return the largest number of one digit and zeros that is not above ``value``."""
    size = 10.0 ** math.floor(math.log10(value))
    return math.floor(value / size) * size


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def _drawn(plan: Plan, settings: Settings, pairs: float) -> int | None:
    """Return how many classes or tenants a sample of so many pairs has. None if they are too few.

    With tenants and a gallery, the classes of each tenant pass for classes of their own.
    """
    if plan.searching:
        units = Units.of_queries(plan.truth[: plan.queries], plan.others.sizes)
    elif settings.within_column is not None:
        units = Units.of_tenants(plan.tenants)
    else:
        units = Units.of_classes(plan.truth)
    try:
        rows = draw(units, int(pairs), settings.seed)
    except TooFew:
        return None
    return None if rows is None else len(np.unique(units.of_row[rows]))


def _relative_error(plan: Plan, settings: Settings, drawn: int) -> tuple[str, float] | None:
    """Estimate how far the rate that matters may be off in a sample, as a share of the rate.

    ``drawn`` is the number of classes of the sample.

    All pairs of a few classes are looked at, at the threshold where they meet the bound.

    Returns
    -------
    (str, float) or None
        ``FAR`` or ``FRR``, and half the width of its 95 % interval. None if these classes have too
        few errors to tell, or if not all rows are paired.
    """
    max_far, max_frr = settings.bounds
    bound = max_far if max_far is not None else max_frr
    if not plan.is_plain or plan.searching or bound is None:
        return None
    sizes = np.bincount(plan.truth)
    order = np.random.default_rng([settings.seed, 3]).permutation(np.flatnonzero(sizes))
    few = max(int(np.searchsorted(np.cumsum(sizes[order]), _LOOKED_AT)), 2)
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[order[:few]] = True
    rows = np.flatnonzero(chosen[plan.truth])[: 2 * _LOOKED_AT]
    labels = plan.truth[rows]  # They do not decrease.
    scores = plan.rows.scores_of(rows, rows)
    alike = labels[:, None] == labels
    kind = ~alike if max_far is not None else alike & ~np.eye(len(rows), dtype=np.bool_)
    those = np.sort(scores[kind])
    # Each pair is there twice.
    errors = math.floor(bound * len(those))
    if errors < 2 * _LEAST_ERRORS:
        return None
    wrong = kind & (scores >= those[-errors] if max_far is not None else scores <= those[errors])
    found, of_kind = (_by_classes(pairs, labels) for pairs in (wrong, kind))
    parts = (found - found.sum() / of_kind.sum() * of_kind) / max(found.sum(), 1)
    left_out = 1 - drawn / len(order)
    if max_far is None:
        variance = few**2 * float(np.var(np.diagonal(parts))) / drawn * left_out
        return "FRR", _NORMAL * math.sqrt(variance)
    return "FAR", _NORMAL * math.sqrt(_variance(parts * few * (few - 1), drawn, left_out))


def _variance(parts: Curves, drawn: int, left_out: float) -> float:
    """Return the variance of the mean part over the pairs of so many classes drawn at random.

    The mean is a U-statistic. Its variance has a part of single classes, which falls with their
    number, and a part of pairs of classes, which falls with the square (Hoeffding, *A Class of
    Statistics with Asymptotically Normal Distribution*, 1948).

    Parameters
    ----------
    parts : ndarray of shape (k, k)
        Part of each two classes. It is symmetric, and 0 on the diagonal. Its mean is 0.
    drawn : int
    left_out : float
        Share of the classes that are not drawn. Nothing varies if all are.
    """
    others = len(parts) - 1
    square = float((parts**2).sum()) / (len(parts) * others)
    of_means = float(np.var(parts.sum(axis=1) / others))
    of_classes = max(of_means - square / others, 0.0)
    of_pairs = max(square - 2 * of_classes, 0.0)
    return 4 * of_classes * left_out / drawn + 2 * of_pairs * left_out**2 / (drawn * (drawn - 1))


def _by_classes(pairs: NDArray[np.bool_], labels: Ints) -> Curves:
    """Return the number of pairs of rows of each two classes. Labels must not decrease."""
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    by_row = np.add.reduceat(pairs, starts, axis=1, dtype=np.float64)
    return np.asarray(np.add.reduceat(by_row, starts, axis=0))
