"""The gate: limits against figures, and a verdict. No figure is chosen here; all were before."""

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np

import opis_cli
from opis_cli import bootstrap, comparison
from opis_cli.comparison import CHOICE, SCALE, Change, ClassChange
from opis_cli.files import read_threshold
from opis_cli.limits import DEFAULT_CONFIDENCE, Demands, Limit, Unit
from opis_cli.operating import Operating
from opis_cli.text import number, plain, rate

if TYPE_CHECKING:
    from opis_cli.runs import Run


@dataclass(frozen=True, slots=True)
class Check:
    """One limit, and whether it holds.

    Attributes
    ----------
    name : str
        As typed: ``max-far``.
    passed : bool
    value : float or None
        The figure; None where it is undefined, and then the check fails. Against a baseline, how
        much worse it is.
    limit : float
        Absolute, also where it was given as a share of the baseline's figure.
    margin : float or None
        By how much what decides stays within the limit; negative where it does not. What decides
        is the value, and against a baseline with a confidence the lower limit of the interval.
    unit : {"number", "rate", "distance"}
    least : bool
        Whether the value must be at least the limit.
    remark : str
        Where the figure comes from, or why there is none, in one line without control characters.
    class_name : int, str or None
        The worst class, as in the data, where the figure is a class's.
    baseline : float or None
        The baseline's figure.
    interval : (float, float) or None
        Limits of the worsening, each of which holds by itself with the verdict's confidence.
    detectable : float or None
        The least worsening that so many classes could have told from none.
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
    detectable: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """The threshold that rates are judged at, and the grid thresholds they are counted at."""

    threshold: float
    kind: Literal["deployed", "recommended"]
    far_at: float
    frr_at: float | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """The run that was compared with."""

    path: str
    same_classes: bool
    classes: int
    replicates: int
    seed: int
    most_worse: tuple[ClassChange, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run holds all its limits, and everything that it was judged by."""

    passed: bool
    checks: tuple[Check, ...]
    run: str
    opis_version: str
    created: str
    source_sha256: str
    metric: str
    judged: Judged | None
    baseline: Baseline | None
    confidence: float | None
    figures: dict[str, float | None]
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.passed)


def judge(
    run: "Run",
    demands: Demands,
    *,
    threshold: str | None = None,
    baseline: "Run | None" = None,
    path: str = "",
    seed: int = 0,
    replicates: int = bootstrap.REPLICATES,
) -> Verdict:
    """Hold the figures of a run against limits.

    Parameters
    ----------
    run : Run
    demands : Demands
    threshold : str, optional
        The deployed threshold, a number or a ``threshold.json``; by default the one that the run
        was evaluated with, else the one that it recommends.
    baseline : Run, optional
        The run that ``demands.baseline`` names.
    path : str
        What the verdict calls the run.
    seed, replicates : int
        Of the bootstrap over classes.

    Raises
    ------
    SettingsError
        The threshold is of another metric, or the runs do not compare.
    """
    deployed = None if run.report.deployed is None else run.report.deployed.threshold
    if threshold is not None:
        deployed = read_threshold(threshold, run.settings.metric)
    at = comparison.operating_of(run, deployed)
    changes: dict[str, Change] = {}
    if baseline is not None:
        _check_comparable(run, baseline, demands, at, path)
        changes = comparison.changes(
            run,
            baseline,
            confidence=demands.confidence or DEFAULT_CONFIDENCE,
            seed=seed,
            at=(at, comparison.operating_of(baseline, deployed)),
            replicates=replicates,
        )
    checks = tuple(
        _worsening(limit, changes, demands)
        if limit.rule.against_baseline
        else _absolute(limit, run, at)
        for limit in demands.limits
    )
    return Verdict(
        passed=all(check.passed for check in checks),
        checks=checks,
        run=path or run.report.source.path,
        opis_version=opis_cli.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source_sha256=run.report.source.sha256,
        metric=run.settings.metric,
        judged=None if at is None else Judged(at.threshold, at.kind, at.far_at, at.frr_at),
        baseline=None
        if baseline is None
        else _baseline(run, baseline, demands.baseline or "", seed, replicates),
        confidence=demands.confidence,
        figures=_figures(run, at),
        notes=_notes(run, baseline, demands, at),
    )


def _check_comparable(
    run: "Run", baseline: "Run", demands: Demands, at: Operating | None, path: str
) -> None:
    """Refuse a baseline of other settings; those of the recommendation only where it is used."""
    asked = {limit.rule.name for limit in demands.limits}
    chosen = at is None or at.kind == "recommended"
    names: tuple[str, ...] = SCALE
    if "max-threshold-shift" in asked or (chosen and "max-frr-increase" in asked):
        names += CHOICE
    of = f"the baseline {demands.baseline}"
    comparison.check_comparable(run, baseline, names, path or "the run", of)


def _figures(run: "Run", at: Operating | None) -> dict[str, float | None]:
    """The figures of the run, for whatever reads a verdict."""
    report = run.report
    return {
        "opis": report.opis,
        "eps_opis": report.eps_opis.value,
        "recall_at_1": report.recall_at_1,
        "eer": report.eer.rate,
        "threshold": None if at is None else at.threshold,
        "far": None if at is None else at.far,
        "frr": None if at is None else at.frr,
    }


def _baseline(run: "Run", base: "Run", path: str, seed: int, replicates: int) -> Baseline:
    same = comparison.same_classes(run, base) is not None
    worse = tuple(one for one in comparison.class_changes(run, base)[:10] if one.change < 0)
    return Baseline(path, same, len(base.counts.sizes), replicates if same else 0, seed, worse)


def _absolute(limit: Limit, run: "Run", at: Operating | None) -> Check:
    """A limit on a figure of the run itself."""
    value, remark, name = _figure(limit, run, at)
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
    limit: Limit, run: "Run", at: Operating | None
) -> tuple[float | None, str, int | str | None]:
    """A figure of the run, where it comes from or why it is undefined, and the class it is of."""
    report, name = run.report, limit.rule.name
    if name == "max-opis":
        return report.opis, _defined(report.opis, "one class with a curve differs from none"), None
    if name == "max-eps-opis":
        value = report.eps_opis.value
        worst = f"worst {report.eps_opis.worst_classes:,} classes against the rest"
        return value, _defined(value, "no class is left to be the rest", worst), None
    if name == "min-recall-at-1":
        return report.recall_at_1, "", None
    if at is None:
        return None, "undefined: the run recommends no threshold; give --threshold", None
    if name == "max-far":
        return at.far, _where(at, at.far_at, at.exact), None
    if name == "max-frr":
        return at.frr, _where(at, at.frr_at, at.exact), None
    if name == "min-classes-meeting-bounds":
        return _meeting(run, at)
    return _worst_class(name, run, at)


def _defined(value: float | None, why: str, otherwise: str = "") -> str:
    return f"undefined: {why}" if value is None else otherwise


def _where(at: Operating, counted_at: float | None, exact: bool) -> str:
    if exact:
        return ""
    if counted_at is None:
        return "below the least threshold of the run, where nothing is surely accepted"
    return f"at most: counted at {counted_at:.7g}"


def _meeting(run: "Run", at: Operating) -> tuple[float | None, str, int | str | None]:
    """The share of the classes whose own rates meet the bounds that the run was made with."""
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
    many = f"{int(met.sum()):,} of {len(met):,} classes"
    return float(met.mean()), f"{lead}{many}, {' and '.join(bounds)}", None


def _worst_class(
    name: str, run: "Run", at: Operating
) -> tuple[float | None, str, int | str | None]:
    """The highest FAR or FRR of a class, of the largest class among equals."""
    by_far = name == "max-class-far"
    values = at.classes.far if by_far else at.classes.frr
    sizes = run.counts.sizes[run.consistency.classes]
    worst = int(np.lexsort((-sizes, -values))[0])
    who = run.counts.class_names[run.consistency.classes].tolist()[worst]
    remark = f"class {plain(who)}, {int(sizes[worst]):,} rows"
    if not at.classes_exact:
        counted_at = at.class_far_at if by_far else at.class_frr_at
        place = "below the grid" if counted_at is None else f"at {counted_at:.7g}"
        remark += f"; at most: counted {place}"
    return float(values[worst]), remark, who


_FIGURE_OF = {
    "max-opis-increase": "opis",
    "max-frr-increase": "frr",
    "max-recall-drop": "recall_at_1",
    "max-threshold-shift": "threshold",
}


def _worsening(limit: Limit, changes: dict[str, Change], demands: Demands) -> Check:
    """A limit on how much worse than the baseline's a figure is."""
    rule = limit.rule
    found = changes[_FIGURE_OF[rule.name]]
    value, interval = found.change, found.interval
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
    allowed = limit.amount
    if limit.relative:
        allowed *= found.base or 0.0
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
        remark=_against(found, value, allowed, interval, demands),
        baseline=found.base,
        interval=interval,
        detectable=detectable,
    )


def _either_way(interval: tuple[float, float]) -> tuple[float, float]:
    """Limits of a size from those of a difference: nothing is shown where 0 lies between them."""
    low, high = interval
    return max(low, -high, 0.0), max(abs(low), abs(high))


def _against(
    found: Change,
    value: float | None,
    allowed: float,
    interval: tuple[float, float] | None,
    demands: Demands,
) -> str:
    if value is None:
        which = "run" if found.value is None else "baseline"
        return f"undefined: the {which} has no such figure"
    shown = rate if found.name in ("recall_at_1", "frr") else number
    remark = f"{shown(found.base)} -> {shown(found.value)}"
    if demands.confidence is None or value <= allowed:
        return remark
    if interval is None:
        return f"{remark}; no interval, so the difference itself decides"
    proven = interval[0] > allowed
    return f"{remark}; {'shown' if proven else 'not shown'} by the classes"


def _notes(
    run: "Run", baseline: "Run | None", demands: Demands, at: Operating | None
) -> tuple[str, ...]:
    """What must be known to trust the verdict."""
    notes = []
    if at is not None and not at.exact:
        below = "no threshold" if at.frr_at is None else f"{at.frr_at:.7g}"
        notes.append(
            f"The deployed threshold {at.threshold:.7g} is no grid threshold of the run: FAR is "
            f"that at the next above, {at.far_at:.7g}, and FRR that at the next below, {below}. "
            f"`opis evaluate --threshold {at.threshold!r}` counts both exactly."
        )
    if at is not None and not at.classes_exact:
        below = "none" if at.class_frr_at is None else f"{at.class_frr_at:.7g}"
        notes.append(
            f"Rates of classes are counted at {at.class_far_at:.7g} (FAR) and {below} (FRR), the "
            "next thresholds with counts by class, and are at most these."
        )
    if baseline is not None:
        notes += _baseline_notes(run, baseline, demands)
    return tuple(notes)


def _baseline_notes(run: "Run", baseline: "Run", demands: Demands) -> list[str]:
    notes = []
    if not any(limit.rule.against_baseline for limit in demands.limits):
        notes.append("No limit is set against the baseline, so nothing was judged by it.")
    elif comparison.same_classes(run, baseline) is None:
        notes.append(
            "The classes are not those of the baseline, so there is no paired interval: the "
            "differences themselves decide."
        )
    elif demands.confidence is None:
        notes.append(
            "Differences themselves decide, chance included; --confidence 0.95 fails only what "
            "the classes prove."
        )
    return notes
