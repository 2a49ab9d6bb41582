"""Place the thresholds of the grid at which pairs are counted.

All pairs are counted at a fixed grid of thresholds, because their distances are too many to keep.
So the grid must have a threshold close to every place where a decision will be made, and these
places are known only after counting. The way out is a *pilot* (``pilot.py``): the distances of all
pairs if they are few, else of a sample. ``place_grid`` uses it to choose the thresholds:

- the *window* is the lower part of the grid, where thresholds are fine. It holds the calibration
  range, the low-FAR tail, every bound that the settings name, and steps of FRR;
- beyond the window, thresholds are even in score and coarse. They only complete the curves.

A sample may be off, so the places it shows get a margin (slack). If the grid turns out not to serve
after counting, ``fitting.py`` places another one. If the pilot shows gaps between the distances,
thresholds lie inside the gaps (``gaps.py``), so that rounding changes no count. Hamming distances
are whole numbers, so their thresholds lie in the middle between two of these.

Read ``Pilot`` and ``Needs`` first, then ``place_grid``; the other functions serve it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.calibration import OPERATING_FARS
from opis_cli.counting.gaps import Gaps, shifted
from opis_cli.counting.rows import Rows, after_whole, code_step
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.decimals import multiples, shortest, significant, step_below
from opis_cli.records import Floats, Grid
from opis_cli.values import Calibration

RANGE_POINTS = 1_024
"""Least number of thresholds inside the calibration range."""
FRR_RESOLUTION = 0.001
"""Most FRR that a bound on the FAR may cost for want of a finer threshold."""

_COARSE_POINTS = 96
"""Thresholds spread evenly over the whole window."""
_WHOLE_POINTS = 4_096
"""The same if distances are whole numbers. Each one up to here has a threshold behind it."""
_UPPER_POINTS = 2_048
"""Thresholds beyond the window if pairs and classes are few (``Sizes.small_counts``)."""
_COARSE_UPPER_POINTS = 127
"""Thresholds beyond the window otherwise."""
_FARTHER = 1.5
"""Most that the even thresholds reach beyond the window, in widths from its end to FAR 99.9 %."""
# Each one costs time. Between them, the FARs of classes are estimated to 0.5 % or better.
_FARS_BEYOND = (0.2, 0.38, 0.6, 0.82, 0.97)
"""Pooled FARs beyond the window whose thresholds keep counts by class."""
SLACK = 1.2
"""Factor by which a FRR, or a low FAR, may differ from what a sample shows."""
# Every pair in the window costs time, and the largest FAR decides how many they are. So the slack
# there is not SLACK, but this number of standard errors, with bounds on the error.
_STANDARD_ERRORS, _LEAST_ERROR, _MOST_ERROR = 5.0, 0.004, 0.06
_MOST_WIDER = 3.0
"""Most that the slack may multiply the number of thresholds in the calibration range by."""
_FEWER = 64
"""Beyond the share that matters, a sample keeps one of so many distances."""
_SHARE_APART = 0.05
"""A sample is taken to have few distinct distances if less than this share differ."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """The share of pairs accepted at each of some distances.

    Attributes
    ----------
    distances : ndarray of shape (M,), float64
        Distances that do not decrease.
    accepted : ndarray of shape (M,), float64
        Share of pairs at or below each distance.
    linear : bool
        False for a sample, which is a step function. True for counts at thresholds, between which
        the share is assumed to rise linearly.
    """

    distances: NDArray[np.float64]
    accepted: NDArray[np.float64]
    linear: bool = False

    @classmethod
    def of_scores(
        cls, scores: NDArray[np.float32], rows: Rows, closely: float = 1.0
    ) -> "Distribution":
        """Make the distribution of a sample from its scores.

        The share ``closely`` of the nearest pairs is kept in full. Of the other pairs one score
        stands for several, because sorting them all would take most of the time.
        """
        count, close = len(scores), int(np.ceil(closely * len(scores)))
        if close >= count:
            distances = rows.distance(np.sort(scores)[::-1])
            return cls(distances, np.arange(1, count + 1) / max(count, 1))
        split = np.partition(scores, count - close)
        near, far = split[count - close :], split[: count - close]
        far = np.append(far[::_FEWER], far.min())
        shares = np.linspace(close, count, len(far) + 1)[1:]
        return cls(
            rows.distance(np.concatenate([np.sort(near)[::-1], np.sort(far)[::-1]])),
            np.concatenate([np.arange(1, close + 1), shares]) / count,
        )

    def first_above(self, shares: Floats | float) -> NDArray[np.float64]:
        """Return, for each share, the smallest distance at which a larger share is accepted."""
        return self._at(shares, "right")

    def first_at(self, shares: Floats | float) -> NDArray[np.float64]:
        """Return, for each share, the smallest distance at which at least it is accepted."""
        return self._at(np.asarray(shares) - 1e-12, "left")

    def _at(self, shares: Floats | float, side: Literal["left", "right"]) -> NDArray[np.float64]:
        if len(self.distances) == 0:
            return np.zeros(np.shape(shares))
        if self.linear:
            return np.asarray(np.interp(shares, self.accepted, self.distances))
        index = np.searchsorted(self.accepted, shares, side=side)
        return np.asarray(self.distances[np.minimum(index, len(self.distances) - 1)])


@dataclass(frozen=True, slots=True)
class Pilot:
    """What is known about the distances before all pairs are counted."""

    genuine: Distribution
    impostor: Distribution
    exact: bool
    """Whether the distributions hold all pairs, not a sample."""
    far_error: float = 0.02
    """Relative standard error of the largest FAR that the grid must resolve, in a sample."""

    def gaps(self, rows: Rows) -> Gaps | None:
        """Return the gaps between distances, or None if a sample cannot show them."""
        known = self.genuine.distances, self.impostor.distances
        return Gaps(rows, known) if self.exact or _are_few(rows, known) else None

    @property
    def slack(self) -> float:
        """Factor by which a FRR, or a low FAR, may differ from the sample's."""
        return 1.0 if self.exact else SLACK

    @property
    def top_slack(self) -> float:
        """Factor by which the largest FAR may differ from the sample's."""
        error = min(max(self.far_error, _LEAST_ERROR), _MOST_ERROR)
        return 1.0 if self.exact else 1 + _STANDARD_ERRORS * error


@dataclass(frozen=True, slots=True)
class Needs:
    """What the grid must resolve.

    Attributes
    ----------
    calibration : Calibration
    fars, frrs : tuple of float
        Pooled rates whose thresholds will be looked up.
    distances : tuple of float
        Thresholds that must be on the grid exactly.
    """

    calibration: Calibration
    fars: tuple[float, ...]
    frrs: tuple[float, ...]
    distances: tuple[float, ...]


def needs_of(
    calibration: Calibration,
    max_far: float | None,
    max_frr: float | None,
    deployed: float | None,
    far_per_query: float | None = None,
) -> Needs:
    """Collect what the settings ask of the grid.

    ``far_per_query`` is the FAR of a bound on the false accepts per query.
    """
    fars = [*OPERATING_FARS]
    fars += [bound for bound in (max_far, far_per_query) if bound is not None]
    fars += [calibration.low, calibration.high] if calibration.by == "far" else []
    frrs = [max_frr] if max_frr is not None else []
    frrs += [calibration.low, calibration.high] if calibration.by == "frr" else []
    distances = [deployed] if deployed is not None else []
    distances += [calibration.low, calibration.high] if calibration.by == "distance" else []
    return Needs(calibration, tuple(sorted(set(fars))), tuple(sorted(set(frrs))), tuple(distances))


def place_grid(pilot: Pilot, needs: Needs, rows: Rows, sizes: Sizes = SIZES) -> Grid:
    """Choose the thresholds at which pairs will be counted.

    A sample is off by its own error, so it places the calibration range with a margin on both
    sides. If the pilot holds all pairs, it places the range exactly, and gives each bound the best
    threshold there is.
    """
    slack, top_slack = pilot.slack, pilot.top_slack
    low, high = _range_ends(pilot, needs.calibration, slack, top_slack)
    inner_low, inner_high = _range_ends(pilot, needs.calibration, 1.0, 1.0)
    wider = min((high - low) / max(inner_high - inner_low, 1e-30), _MOST_WIDER)
    fars, frrs = np.array(needs.fars), np.array(needs.frrs)
    given = np.array(needs.distances)
    tops = [
        pilot.impostor.first_above(np.minimum(top_slack * fars, 1.0)),
        pilot.genuine.first_at(1 - frrs / slack),
    ]
    end = float(shifted(rows, max(high, *np.concatenate([*tops, given])), +1))
    least = rows.least_distance
    step = code_step(end - least)
    end = float(after_whole(end) if rows.whole else multiples(end, step, +1))
    end = min(end, rows.largest_distance)
    tail = _tail_start(pilot, min([*needs.fars, 1e-1]))
    coarse = _WHOLE_POINTS if rows.whole else _COARSE_POINTS
    even = [_even(least, end, coarse), _even(low, high, int(RANGE_POINTS * 1.1 * wider))]
    steps = _genuine_steps(pilot.genuine, min(tail, low), end)
    accepted, rejected = pilot.genuine.first_at(1 - frrs), pilot.impostor.first_above(fars)
    gaps = pilot.gaps(rows)
    if rows.whole:
        fine = after_whole(np.concatenate([*even, steps]))
        decisive = [after_whole(accepted), after_whole(rejected - 1)]
    elif gaps is None:
        fine = np.concatenate([*even, multiples(steps, step, +1)])
        decisive = [multiples(accepted, step, +1), multiples(rejected, step, -1)]
    else:
        # A threshold in the middle of a gap gives the same counts in every precision. A threshold
        # near the pair shows what a bound costs.
        reach = (high - low) / 2_000
        fine = gaps.clear(np.concatenate([*even, _near(rows, steps, reach)]))
        decisive = [gaps.beside(accepted, +1), gaps.beside(rejected, -1)]
        decisive += [_near(rows, accepted, reach), _near(rows, rejected, -reach)]
    fine = np.concatenate([fine, *decisive, given, [least, end]])
    fine = np.unique(fine[(fine >= least) & (fine <= end)])
    upper = _upper(pilot, rows, end)
    count, classes = len(rows.labels), int(rows.keys.max()) + 1
    if count * (count - 1) // 2 > sizes.small_pairs:
        thresholds = np.concatenate([fine, upper])
        return Grid(thresholds, len(fine), _by_class(thresholds, len(fine), pilot))
    finer = np.union1d(upper, _to_the_last(pilot, rows, end))
    if classes * (len(fine) + len(finer)) <= sizes.small_counts:
        upper = finer
    thresholds = np.concatenate([fine, upper])
    return Grid(thresholds, len(fine), np.arange(len(thresholds)))


def _tail_start(pilot: Pilot, far: float) -> float:
    """Return a distance below the threshold of the lowest FAR that matters.

    A sample cannot show so low a FAR. So its distances at two higher FARs are extrapolated, along a
    line on the scale of normal deviates, to a tenth of the FAR.
    """
    if pilot.exact:
        return float(pilot.impostor.first_above(far / 4))
    from scipy.special import ndtri

    near, nearer = pilot.impostor.first_above(np.array([1e-3, 1e-5]))
    slope = (near - nearer) / (ndtri(1e-3) - ndtri(1e-5))
    return float(min(nearer, nearer + slope * (ndtri(far / 10) - ndtri(1e-5))))


def _even(low: float, high: float, points: int) -> NDArray[np.float64]:
    """Return at least ``points`` even thresholds, with only the digits that keep them apart."""
    if not high > low:
        return np.array([low])
    return multiples(np.linspace(low, high, points), step_below((high - low) / points))


def _near(rows: Rows, pairs: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Return thresholds of few digits just above (``reach`` > 0) or below some distances.

    Each one lies clear of the pair's rounding. It is no farther from the pair than ``reach``,
    unless the rounding itself is wider.
    """
    clear = shifted(rows, pairs, 1 if reach > 0 else -1)
    ends = zip(clear.tolist(), (pairs + reach).tolist(), strict=True)
    return np.array([shortest(min(pair), max(pair)) for pair in ends])


def _are_few(rows: Rows, known: tuple[NDArray[np.float64], ...]) -> bool:
    """Return whether a sample has few distinct distances, as vectors of whole numbers give."""
    least = rows.rounding
    apart = sum(np.count_nonzero(-np.diff(rows.score(one)) > least) for one in known)
    return bool(apart < _SHARE_APART * sum(len(one) for one in known))


def _range_ends(
    pilot: Pilot, calibration: Calibration, slack: float, top_slack: float
) -> tuple[float, float]:
    """Return the ends of the calibration range, moved outwards by the slacks."""
    if calibration.by == "far":
        fars = np.array([calibration.low / slack, min(calibration.high * top_slack, 1.0)])
        low, high = pilot.impostor.first_above(fars)
    elif calibration.by == "frr":
        frrs = np.array([calibration.low / slack, min(calibration.high * slack, 1.0)])
        high, low = pilot.genuine.first_at(1 - frrs)
    else:
        low, high = calibration.low, calibration.high
    return float(low), float(high)


def _genuine_steps(genuine: Distribution, low: float, high: float) -> NDArray[np.float64]:
    """Return distances from ``low`` to ``high`` that split the genuine pairs into small shares.

    Between two of them lies half of ``FRR_RESOLUTION``.
    """
    places = genuine.first_at(np.arange(FRR_RESOLUTION / 2, 1.0, FRR_RESOLUTION / 2))
    return np.asarray(places[(places >= low) & (places <= high)])


def _upper(pilot: Pilot, rows: Rows, end: float) -> NDArray[np.float64]:
    """Return thresholds beyond the window, even in score. The last one accepts every pair.

    The even ones reach to a FAR of 99.99 %. If a few pairs lie far beyond the rest, they reach less
    far, so that most thresholds serve the FARs below 99.9 %.
    """
    nearly, all_ = np.maximum(pilot.impostor.first_above(np.array([0.999, 0.9999])), end)
    top, near, far = rows.score(np.array([end, nearly, all_]))
    bottom = max(1.05 * far - 0.05 * top, top - _FARTHER * (top - near))
    return _even_to(rows, end, bottom, _COARSE_UPPER_POINTS)


def _to_the_last(pilot: Pilot, rows: Rows, end: float) -> NDArray[np.float64]:
    """Return many thresholds from the end of the window to the farthest pair."""
    farthest = max(float(pilot.impostor.first_at(1.0)), float(pilot.genuine.first_at(1.0)), end)
    top, bottom = rows.score(np.array([end, farthest]))
    return _even_to(rows, end, 1.05 * bottom - 0.05 * top, _UPPER_POINTS)


def _even_to(rows: Rows, end: float, bottom: float, points: int) -> NDArray[np.float64]:
    """Return thresholds beyond ``end``, even in score down to ``bottom``.

    The largest distance follows as the last one.
    """
    limit, top = rows.largest_distance, float(rows.score(np.array(end)))
    if rows.metric == "cosine":
        step = significant((top - bottom) / points, 2)
        places = end + step * np.arange(1, points + 1)
    else:
        # Engines need cuts that are even in score. So distances, which are not even here, are
        # rounded only as far as engines allow.
        places = rows.distance(np.linspace(top, bottom, points + 1)[1:])
    steps = np.array([significant(one) for one in places])
    if rows.whole:
        steps = np.unique(after_whole(steps))
    return np.append(steps[(steps > end) & (steps < limit)], limit if limit > end else [])


def _by_class(thresholds: NDArray[np.float64], window: int, pilot: Pilot) -> NDArray[np.int64]:
    """Return the indices of the thresholds that keep counts by class.

    These are the thresholds of the window, a few beyond it, and the last one.
    """
    places = np.searchsorted(thresholds, pilot.impostor.first_at(np.array(_FARS_BEYOND)))
    kept = np.unique(np.append(places, len(thresholds) - 1))
    kept = kept[(kept >= window) & (kept < len(thresholds))]
    return np.concatenate([np.arange(window), kept])
