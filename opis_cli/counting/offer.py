"""Say what counting all pairs will take, and offer a sample that takes seconds."""

import math

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.memory import Announce, silent
from opis_cli.counting.plan import Plan
from opis_cli.counting.prepared import Prepared
from opis_cli.counting.speed import pairs_per_second
from opis_cli.embeddings.sampling import LEAST_TENANTS
from opis_cli.settings import Settings
from opis_cli.text import duration

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
    line = f"counting them takes about {duration(seconds)}"
    pairs = _one_digit(min(rate * _SHORT, plan.pairs / 10))
    if settings.ignored_label[1] or not _can_draw(plan, settings, pairs):
        return line
    line += f"; --max-pairs={pairs:.0e}".replace("e+0", "e").replace("e+", "e")
    line += f" takes about {duration(pairs / rate)}"
    error = _relative_error(plan, settings, pairs)
    if error is None:
        return line
    return f"{line}, and gives the {error[0]} to within ±{_percent(error[1])} of its value"


def _one_digit(value: float) -> float:
    """Return the largest number of one digit and zeros that is not above ``value``."""
    size = 10.0 ** math.floor(math.log10(value))
    return math.floor(value / size) * size


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.2g} %" if percent < 10 else f"{percent:.0f} %"


def _can_draw(plan: Plan, settings: Settings, pairs: float) -> bool:
    """Return whether a sample of so many pairs probably has enough classes or tenants."""
    share = pairs / plan.pairs
    if plan.searching:
        return share * len(np.unique(plan.truth[: plan.queries])) >= 2
    if settings.within_column is not None:
        return share * len(np.unique(plan.tenants)) >= 2 * LEAST_TENANTS
    return math.sqrt(share) * len(np.unique(plan.truth)) >= 4


def _relative_error(plan: Plan, settings: Settings, pairs: float) -> tuple[str, float] | None:
    """Estimate how far the rate that matters may be off in a sample, as a share of the rate.

    All pairs of a few classes are looked at, at the threshold where they meet the bound. The error
    of their rate, by the jackknife over classes, becomes that of more classes in proportion to one
    over the square root of their number. Nothing is left of it when all classes are drawn.

    Returns
    -------
    (str, float) or None
        ``FAR`` or ``FRR``, and half the width of its 95 % interval. None if these classes have too
        few errors to tell, or if not all rows are paired.
    """
    if not plan.is_plain or plan.searching:
        return None
    max_far, max_frr = settings.bounds
    far = max_far is not None
    bound = max_far if max_far is not None else max_frr
    if bound is None:
        return None
    sizes = np.bincount(plan.truth)
    order = np.random.default_rng([settings.seed, 3]).permutation(np.flatnonzero(sizes))
    few = max(int(np.searchsorted(np.cumsum(sizes[order]), _LOOKED_AT)), 2)
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[order[:few]] = True
    rows = np.flatnonzero(chosen[plan.truth])[: 2 * _LOOKED_AT]
    labels = np.unique(plan.truth[rows], return_inverse=True)[1]
    scores = plan.rows.scores_of(rows, rows)
    kind = (labels[:, None] != labels) if far else (labels[:, None] == labels)
    np.fill_diagonal(kind, False)
    those = scores[kind]
    errors = math.floor(bound * len(those))
    if errors // 2 < _LEAST_ERRORS:
        return None
    cut = np.partition(those, len(those) - errors if far else errors - 1)
    at = cut[len(those) - errors if far else errors - 1]
    wrong = kind & (scores >= at if far else scores <= at)
    error = _jackknifed(wrong, kind, labels)
    drawn = math.sqrt(pairs / plan.pairs) * len(order)
    left_out = 1 - min(drawn / len(order), 1.0)
    return "FAR" if far else "FRR", _NORMAL * error * math.sqrt(few / drawn * left_out)


def _jackknifed(
    wrong: NDArray[np.bool_], kind: NDArray[np.bool_], labels: NDArray[np.int64]
) -> float:
    """Return the standard error of the share of wrong pairs, divided by this share.

    The two matrices say which pairs of rows are wrong, and which are of the kind. They are
    symmetric. A class is left out with all pairs of its rows.
    """
    by_class = [
        np.bincount(labels, weights=pairs.sum(axis=1)) - _inside(pairs, labels) / 2
        for pairs in (wrong, kind)
    ]
    a, m = (float(pairs.sum()) / 2 for pairs in (wrong, kind))
    without = (a - by_class[0]) / (m - by_class[1])
    count = len(without)
    return math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum())) * m / a


def _inside(pairs: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the number of ordered pairs inside each class."""
    one, _ = np.nonzero(pairs & (labels[:, None] == labels))
    return np.bincount(labels[one], minlength=int(labels.max()) + 1).astype(np.float64)
