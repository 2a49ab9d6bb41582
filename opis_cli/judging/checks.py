"""Check one figure against one limit: whether it passes, by which margin, and with which remark."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from opis_cli.evidence.flips import BOTH, OLD_ONLY, Flips
from opis_cli.judging.changes import Change
from opis_cli.judging.evidence import ErrorPair, suspect_rows
from opis_cli.judging.limits import DEFAULT_CONFIDENCE, Demands, Limit, Unit
from opis_cli.judging.migration import counts_of, in_use
from opis_cli.records import Curve
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import Evidence
from opis_cli.scoring.operating import Operating
from opis_cli.scoring.search import search_figures
from opis_cli.statistics import bootstrap
from opis_cli.statistics.family import holm, share_within
from opis_cli.text import number, on_scale, plain, rate, shown


@dataclass(frozen=True, slots=True)
class Check:
    """One limit, and whether the run meets it.

    Attributes
    ----------
    name : str
        Name of the limit, such as ``max-far``.
    passed : bool
    value : float or None
        The figure, or its worsening against the baseline. If it is undefined, it is None and the
        check fails.
    limit : float
        The limit as an absolute value, even if it was given as a share of the baseline's figure.
    margin : float or None
        Distance of the deciding number from the limit. It is negative if the check fails. The
        deciding number is the value or, against a baseline with a confidence, the lower limit of
        the interval.
    unit : {"number", "rate", "distance", "pairs", "rows"}
    least : bool
        Whether the value must be at least the limit.
    remark : str
        Where the figure comes from, or why it is undefined. One line without control characters.
    class_name : int, str or None
        Label of the worst class as in the data, if the figure is that of one class.
    baseline : float or None
        The baseline's figure.
    interval : (float, float) or None
        One-sided lower and upper limit of the worsening, each at ``confidence``.
    confidence : float or None
        Confidence of this check. For checks that are judged as a family, it is the confidence that
        Holm's procedure gives to this check.
    p : float or None
        p-value: share of the draws of classes in which the worsening stays within the limit.
    detectable : float or None
        Smallest worsening that this number of classes could have shown.
    pairs : tuple of ErrorPair
        Pairs that explain why the limit does not hold, from the evidence of the run.
    """

    name: str
    passed: bool
    value: float | None
    limit: float
    margin: float | None
    unit: Unit
    least: bool
    remark: str
    class_name: int | str | None = dataclasses.field(default=None, metadata={"key": "class"})
    baseline: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    p: float | None = None
    detectable: float | None = None
    pairs: tuple[ErrorPair, ...] = ()


def suspects(limit: Limit, evidence: Evidence) -> Check:
    """Check the limit on suspect rows."""
    value, allowed, remark = suspect_rows(limit, evidence)
    return _check(dataclasses.replace(limit, amount=allowed, relative=False), value, remark)


def changed_decisions(limit: Limit, flips: Flips | None, base: Evaluation | None) -> Check:
    """Check the limit on decisions that change. ``flips`` is None if the run has no threshold."""
    if flips is None or base is None:
        return _check(limit, None, _NO_THRESHOLD)
    at, kind = in_use(base)
    found = counts_of(flips)
    remark = (
        f"genuine pairs: {found.genuine_lost:,} lost and {found.genuine_won:,} won; impostors: "
        f"{found.impostors_let_in:,} let in and {found.impostors_kept_out:,} kept out; the "
        f"baseline is at its {kind} {on_scale(at, base.settings.metric)}"
    )
    # Rounded first, as binary fractions are not exact: 29 % of 100 pairs would be 28.
    accepted = int(flips.pairs[:, [OLD_ONLY, BOTH]].sum())
    allowed = math.floor(round(limit.amount * (accepted if limit.relative else 1), 9))
    return _check(dataclasses.replace(limit, amount=allowed, relative=False), found.total, remark)


def absolute(limit: Limit, run: Evaluation, at: Operating | None) -> Check:
    """Check a limit on a figure of the run itself."""
    return _check(limit, *_figure(limit, run, at))


def _check(limit: Limit, value: float | None, remark: str, name: int | str | None = None) -> Check:
    margin = None
    if value is not None:
        margin = value - limit.amount if limit.rule.least else limit.amount - value
    return Check(
        name=limit.rule.name,
        passed=margin is not None and margin >= 0,
        value=value,
        limit=limit.amount,
        margin=margin,
        unit=limit.rule.unit,
        least=limit.rule.least,
        remark=remark,
        class_name=name,
    )


def _figure(
    limit: Limit, run: Evaluation, at: Operating | None
) -> tuple[float | None, str, int | str | None]:
    """Return a figure of the run, a remark, and the label of the class if it is that of a class.

    The remark says where the figure comes from, or why it is undefined.
    """
    report, name = run.report, limit.rule.name
    if name in _OF_CLASSES and not len(run.consistency.classes):
        return None, f"undefined: {no_classes(run)}", None
    if name == "max-opis":
        alone = f"a single {report.source.one} has nothing to differ from"
        return report.opis, _defined(report.opis, alone), None
    if name == "max-eps-opis":
        value = report.eps_opis.value
        worst = f"worst {report.eps_opis.worst_classes:,} {report.source.many} against the rest"
        alone = f"no {report.source.one} is left to be the rest"
        return value, _defined(value, alone, worst), None
    if name == "min-recall-at-1":
        return report.recall_at_1, _defined(report.recall_at_1, "scored pairs have no rows"), None
    if name == "max-review":
        return *_reviewed(run), None
    if name == "max-label-conflicts":
        return *_conflicts(run), None
    if at is None:
        return None, _NO_THRESHOLD, None
    if name == "max-far":
        return at.far, _where(run, at.far_at, at.exact), None
    if name == "max-frr":
        return at.frr, _where(run, at.frr_at, at.exact), None
    if limit.rule.field in _OF_SEARCHES:
        return *_of_searches(limit.rule.field, run, at), None
    if name == "min-classes-meeting-bounds":
        return _meeting(run, at)
    return _worst_class(name, run, at)


_NO_THRESHOLD = "undefined: the run recommends no threshold; give --threshold"
_OF_CLASSES = (
    *("max-opis", "max-eps-opis", "min-classes-meeting-bounds"),
    *("max-class-far", "max-class-frr"),
)


def no_classes(run: Evaluation) -> str:
    """Return the reason why there are no figures by class."""
    if run.report.source.classes:
        return f"no {run.report.source.one} has pairs of both kinds"
    return "scored pairs without groups have no classes; see --group-column"


def _defined(value: float | None, why: str, otherwise: str = "") -> str:
    return f"undefined: {why}" if value is None else otherwise


_OF_SEARCHES = {
    "max_false_accepts_per_query": ("false_accepts_per_query", "scored pairs have no searches"),
    "max_fpir": ("fpir", "no query of a gallery lacks a genuine row"),
    "min_precision": ("precision", "evaluate with --prior"),
    "min_identification": ("identification", "scored pairs, and runs of an older opis, lack it"),
}
"""The figure of each limit on searches, and why it may be undefined."""


def _of_searches(field: str, run: Evaluation, at: Operating) -> tuple[float | None, str]:
    """Return a figure of searches at a threshold, and a remark."""
    figure, why = _OF_SEARCHES[field]
    grid = run.counts.grid
    strict = -1 if at.frr_at is None else grid.index_at(at.frr_at)
    found = search_figures(run.counts, run.settings.prior, grid.index_at(at.far_at), strict)
    value = getattr(found, figure)
    remark = f"at the prior {run.settings.prior:g}" if figure == "precision" and value else ""
    if not at.exact:
        least = "at least" if field.startswith("min") else "at most"
        remark = f"{least}: counted beside the threshold"
    return value, _defined(value, why, remark)


def _reviewed(run: Evaluation) -> tuple[float | None, str]:
    """Return the share of the pairs that go to review at the run's own bounds, and a remark."""
    review, metric = run.report.review, run.settings.metric
    if review is None:
        return None, "undefined: evaluate with --review, --max-far and --max-frr"
    if review.pairs_share is None:
        return None, "undefined: genuine pairs without a score break the bound on the FRR"
    if review.one_threshold:
        return review.pairs_share, "one threshold meets both bounds"
    ends = review.accept_threshold, review.refuse_threshold
    low, high = ("none" if end is None else shown(end, metric) for end in ends)
    return review.pairs_share, f"accepted by {low}, refused by {high}"


def _conflicts(run: Evaluation) -> tuple[int | None, str]:
    """Return the number of pairs of equal rows with different labels, and a remark."""
    found = run.report.duplicates
    if found is None:
        return None, "undefined: no equal rows were looked for"
    if run.report.schema_version < _CONFLICTS_SINCE:
        return None, "undefined: an older opis did not count them; evaluate the source again"
    return found.conflicts, f"of {found.pairs:,} pairs of equal rows"


_CONFLICTS_SINCE = 3
"""Schema of the first reports that count the pairs of equal rows with different labels."""


def _where(run: Evaluation, counted_at: float | None, exact: bool) -> str:
    if exact:
        return ""
    if counted_at is None:
        return "below the least threshold of the run, where nothing is surely accepted"
    return f"at most: counted at {shown(counted_at, run.settings.metric)}"


def _meeting(run: Evaluation, at: Operating) -> tuple[float | None, str, int | str | None]:
    """Return the share of classes whose own rates meet the run's bounds, as ``_figure`` does."""
    max_far, max_frr = run.settings.bounds
    met = np.ones(len(at.classes.far), bool)
    bounds = []
    if max_far is not None:
        met &= at.classes.far <= max_far
        bounds.append(f"FAR <= {rate(max_far)}")
    if max_frr is not None:
        met &= at.classes.frr <= max_frr
        bounds.append(f"FRR <= {rate(max_frr)}")
    lead = "" if at.classes_exact else "at least: "
    many = f"{int(met.sum()):,} of {len(met):,} {run.report.source.many}"
    return float(met.mean()), f"{lead}{many}, {' and '.join(bounds)}", None


def _worst_class(
    name: str, run: Evaluation, at: Operating
) -> tuple[float | None, str, int | str | None]:
    """Return the highest FAR or FRR of a class, as ``_figure`` does.

    The larger class wins a tie.
    """
    by_far, counts, classes = name == "max-class-far", run.counts, run.consistency.classes
    values = at.classes.far if by_far else at.classes.frr
    pairs = (counts.impostor_pairs if by_far else counts.genuine_pairs)[classes]
    worst = int(np.lexsort((-counts.sizes[classes], -values))[0])
    who = counts.class_names[classes].tolist()[worst]
    errors, kind = round(float(values[worst] * pairs[worst])), "impostor" if by_far else "genuine"
    remark = f"{run.report.source.one} {plain(who)}, "
    remark += f"{errors:,} of {int(pairs[worst]):,} {kind} pairs"
    if not at.classes_exact:
        counted_at = at.class_far_at if by_far else at.class_frr_at
        place = "below the grid"
        if counted_at is not None:
            place = f"at {shown(counted_at, run.settings.metric)}"
        remark += f"; at most: counted {place}"
    return float(values[worst]), remark, who


_FIGURE_OF = {
    "max-opis-increase": "opis",
    "max-frr-increase": "frr",
    "max-recall-drop": "recall_at_1",
    "max-threshold-shift": "threshold",
}


def worsenings(
    changes: dict[str, Change], draws: dict[str, Curve], demands: Demands
) -> dict[str, Check]:
    """Check the limits on worsenings against the baseline, and return the checks by name.

    Parameters
    ----------
    changes : dict
        Changes by the names of ``changes.figures``.
    draws : dict
        The result of ``changes.drawn_changes``.
    demands : Demands
    """
    alpha = 1 - (demands.confidence or DEFAULT_CONFIDENCE)
    limits = demands.worsenings
    shares = {limit.rule.name: _share_within(limit, changes, draws) for limit in limits}
    tested = {name: share for name, share in shares.items() if share is not None}
    levels = dict.fromkeys(shares, alpha)
    if demands.family:
        levels |= dict(zip(tested, holm(list(tested.values()), alpha), strict=True))
    checks = {}
    for limit in limits:
        name, figure = limit.rule.name, _FIGURE_OF[limit.rule.name]
        found, confidence = changes[figure], round(1 - levels[name], 12)
        if found.interval is not None:
            ends = bootstrap.one_sided_limits(draws[figure], confidence)
            found = dataclasses.replace(found, interval=ends)
        check = _worsening(limit, found, demands)
        if check.interval is not None:
            check = dataclasses.replace(check, confidence=confidence, p=shares[name])
        checks[name] = check
    return checks


def _share_within(
    limit: Limit, changes: dict[str, Change], draws: dict[str, Curve]
) -> float | None:
    """Return the p-value of a check, or None if the figure has no interval."""
    found = changes[_FIGURE_OF[limit.rule.name]]
    if found.interval is None:
        return None
    worse = draws[found.name] * (-1 if limit.rule.name == "max-recall-drop" else 1)
    either_way = limit.rule.name == "max-threshold-shift"
    return share_within(worse, _allowed(limit, found), either_way=either_way)


def _allowed(limit: Limit, change: Change) -> float:
    """Return the largest worsening that a limit allows, as an absolute value.

    A baseline's threshold may be a negative score, so a relative limit uses its absolute value.
    """
    return limit.amount * (abs(change.base or 0.0) if limit.relative else 1.0)


def _worsening(limit: Limit, change: Change, demands: Demands) -> Check:
    """Check a limit on the worsening of a figure against the baseline."""
    rule = limit.rule
    value, interval = change.change, change.interval
    if rule.name == "max-recall-drop" and value is not None:
        value, interval = -value, interval and (-interval[1], -interval[0])
    detectable = None
    if value is not None and interval is not None:
        detectable = max(value - interval[0], 0.0)
    if rule.name == "max-threshold-shift" and value is not None and interval is not None:
        detectable = max(value - interval[0], interval[1] - value, 0.0)
        interval = _either_way(interval)
    if rule.name == "max-threshold-shift" and value is not None:
        value = abs(value)
    allowed = _allowed(limit, change)
    decides = value
    if demands.confidence is not None and interval is not None and value is not None:
        decides = interval[0]
    margin = None if decides is None else allowed - decides
    return Check(
        name=rule.name,
        passed=margin is not None and margin >= 0,
        value=value,
        limit=allowed,
        margin=margin,
        unit=rule.unit,
        least=False,
        remark=_against(change, value, allowed, interval, demands),
        baseline=change.base,
        interval=interval,
        detectable=detectable,
    )


def _either_way(interval: tuple[float, float]) -> tuple[float, float]:
    """Return the limits of the absolute difference from the limits of the difference.

    The lower limit is 0 if 0 lies between the limits of the difference.
    """
    low, high = interval
    return max(low, -high, 0.0), max(abs(low), abs(high))


def _against(
    change: Change,
    value: float | None,
    allowed: float,
    interval: tuple[float, float] | None,
    demands: Demands,
) -> str:
    if value is None:
        if None not in (change.value, change.base):
            return "undefined: run and baseline have other metrics, and this figure depends on them"
        which = "run" if change.value is None else "baseline"
        return f"undefined: the {which} has no such figure"
    text = rate if change.name in ("recall_at_1", "frr") else number
    remark = f"from {text(change.base)} to {text(change.value)}"
    if demands.confidence is None or value <= allowed:
        return remark
    if interval is None:
        return f"{remark}; no interval, so the difference itself decides"
    proven = interval[0] > allowed
    return f"{remark}; {'shown' if proven else 'not shown'} by the classes"
