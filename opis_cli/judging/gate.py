"""The gate: compare the figures of a run with limits, and return a verdict.

Other modules compute the figures.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import opis_cli
from opis_cli.errors import RunError, SettingsError
from opis_cli.evidence.flips import Flips
from opis_cli.judging import changes
from opis_cli.judging.changes import (
    ClassChange,
    check_comparable,
    class_changes,
    drawn_changes,
    have_units,
    operating_of,
)
from opis_cli.judging.checks import Check, absolute, changed_decisions, suspects, worsenings
from opis_cli.judging.evidence import KINDS, error_pairs, evidence_note
from opis_cli.judging.limits import DEFAULT_CONFIDENCE, FLIPS, SUSPECTS, Demands, Limit
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import Evidence, no_evidence
from opis_cli.report.threshold_file import read_threshold
from opis_cli.scoring.operating import Operating, rates_at
from opis_cli.scoring.who_pays import WhoPays, who_pays
from opis_cli.settings import BOUNDS, Compares
from opis_cli.statistics import bootstrap
from opis_cli.text import SIMILARITIES, as_known, plain, rate, shown


@dataclass(frozen=True, slots=True)
class Judged:
    """The threshold at which rates are judged, and the grid thresholds of its pooled counts."""

    threshold: float
    kind: Literal["deployed", "recommended"]
    far_at: float
    frr_at: float | None


@dataclass(frozen=True, slots=True)
class Baseline:
    """The baseline run, and the classes whose mean utility fell most against it."""

    path: str
    same_classes: bool
    classes: int
    replicates: int
    seed: int
    most_worse: tuple[ClassChange, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run meets all its limits, with the checks and the facts behind them.

    ``false_alarm`` is an upper limit of the probability that a model which is not worse fails any
    check against the baseline. It is None if no confidence is given, or if no check has an
    interval.
    """

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
    family: bool
    false_alarm: float | None
    figures: dict[str, float | None] = field(hash=False)
    notes: tuple[str, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with the judged run and the baseline, as the input of the gate's reports.

    ``page`` is the address of the page of this outcome, for reports that link to it.
    """

    verdict: Verdict
    run: Evaluation
    base: Evaluation | None = None
    page: str | None = None

    def paying(self, most: int) -> WhoPays | None:
        """Return the classes that pay for the judged threshold, at most ``most`` of each kind.

        The result is None if there is no threshold, or no class with pairs of both kinds.
        """
        judged, run = self.verdict.judged, self.run
        if judged is None or not len(run.consistency.classes):
            return None
        at = rates_at(run.counts, judged.threshold, run.settings.beta)
        return who_pays(run.counts, at.class_far_at, at.class_frr_at, most)


def judge(
    run: Evaluation,
    demands: Demands,
    *,
    threshold: str | None = None,
    baseline: Evaluation | None = None,
    path: str = "",
    evidence: Evidence | None = None,
    flips: Flips | None = None,
    seed: int = 0,
    replicates: int = bootstrap.REPLICATES,
) -> Verdict:
    """Judge the figures of a run by limits.

    Parameters
    ----------
    run : Evaluation
    demands : Demands
    threshold : str, optional
        The deployed threshold: a number, or the path of a ``threshold.json``. By default it is the
        deployed threshold of the evaluation or, without one, the recommended threshold.
    baseline : Evaluation, optional
        The run that ``demands.baseline`` names.
    path : str
        Name of the run in the verdict.
    evidence : Evidence, optional
        What ``explain`` found. By default it is the evidence in the folder of the run.
    flips : Flips, optional
        The decisions that change from the baseline, if ``demands`` limit them.
    seed, replicates : int
        Seed and number of draws of the bootstrap over classes.

    Raises
    ------
    SettingsError
        The threshold has another metric, or the runs cannot be compared.
    RunError
        A limit needs evidence, and the run has none of its own.
    """
    deployed = None if run.report.deployed is None else run.report.deployed.threshold
    if threshold is not None:
        deployed = read_threshold(threshold, run.settings.metric)
    at = operating_of(run, deployed)
    worse: dict[str, Check] = {}
    # Decisions of two models compare whatever their settings are, and no figure does.
    compared = baseline is not None and (demands.worsenings or not demands.need_flips)
    if baseline is not None and compared:
        _check_comparable(run, baseline, demands, at, path)
    if baseline is not None and demands.worsenings:
        both = at, operating_of(baseline, deployed)
        draws = drawn_changes(run, baseline, seed=seed, at=both, replicates=replicates)
        confidence = demands.confidence or DEFAULT_CONFIDENCE
        changed = changes.figure_changes(run, baseline, draws, confidence=confidence, at=both)
        worse = worsenings(changed, draws, demands)
    if demands.need_evidence and run.settings.pairs:
        raise SettingsError(f"--{SUSPECTS} is for embeddings: scored pairs have no rows to suspect")
    if demands.need_evidence:
        evidence = run.evidence(evidence)
        if evidence is None:
            raise no_evidence(run.folder, f"--{SUSPECTS}")
    checks = tuple(
        _check(limit, run, at, worse, evidence, flips, baseline) for limit in demands.limits
    )
    checks, behind = _explained(checks, demands, run, at, evidence)
    tested = sum(check.p is not None for check in worse.values())
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
        else _baseline(run, baseline, demands.baseline or "", seed, replicates if compared else 0),
        confidence=demands.confidence,
        family=demands.family,
        false_alarm=_false_alarm(demands, tested),
        figures=_figures(run, at),
        notes=_notes(run, baseline, demands, at) + _chance(demands, tested) + behind,
    )


def _check(
    limit: Limit,
    run: Evaluation,
    at: Operating | None,
    worse: dict[str, Check],
    evidence: Evidence | None,
    flips: Flips | None,
    base: Evaluation | None,
) -> Check:
    if limit.rule.is_worsening:
        return worse[limit.rule.name]
    if limit.rule.name == FLIPS:
        return changed_decisions(limit, flips, base)
    if limit.rule.name == SUSPECTS and evidence is not None:
        return suspects(limit, evidence)
    return absolute(limit, run, at)


def _explained(
    checks: tuple[Check, ...],
    demands: Demands,
    run: Evaluation,
    at: Operating | None,
    evidence: Evidence | None,
) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """Return the checks, with the pairs behind those that failed, and notes on these pairs."""
    failed = [one.name for one in checks if not one.passed and one.name in KINDS]
    if not failed:
        return checks, ()
    try:
        evidence = run.evidence(evidence)
    except RunError as error:
        # The verdict stands without the pairs.
        return checks, (f"No pairs are named: {plain(error.for_shell, 200)}.",)
    if evidence is None:
        return checks, ()
    found = tuple(
        replace(check, pairs=error_pairs(limit, run, at, evidence))
        if check.name in failed
        else check
        for limit, check in zip(demands.limits, checks, strict=True)
    )
    lacking = [one.class_name for one in found if one.name in failed and not one.pairs]
    note = evidence_note(evidence, at, lacking)
    return found, (note,) if note else ()


def _check_comparable(
    run: Evaluation, baseline: Evaluation, demands: Demands, at: Operating | None, path: str
) -> None:
    """Refuse a baseline with other settings.

    Settings that change only the recommendation matter only if a limit depends on it.
    """
    asked = {limit.rule.name for limit in demands.limits}
    chosen = at is None or at.kind == "recommended"
    compared: tuple[Compares, ...] = ("figures",)
    if "max-threshold-shift" in asked or (chosen and "max-frr-increase" in asked):
        compared += ("recommendation",)
    of = f"the baseline {demands.baseline}"
    check_comparable(run, baseline, compared, path or "the run", of)


def _figures(run: Evaluation, at: Operating | None) -> dict[str, float | None]:
    """Return the figures of the run that a verdict contains in addition to the checks.

    The threshold is a distance, or a score if the pairs have scores.
    """
    report = run.report
    return {
        "opis": report.opis,
        "eps_opis": report.eps_opis.value,
        "recall_at_1": report.recall_at_1,
        "eer": report.eer.rate,
        "threshold": None if at is None else as_known(at.threshold, run.settings.metric),
        "far": None if at is None else at.far,
        "frr": None if at is None else at.frr,
    }


def _baseline(run: Evaluation, base: Evaluation, path: str, seed: int, replicates: int) -> Baseline:
    same = changes.same_classes(run, base) is not None
    drawn = replicates if same and have_units(run, base) else 0
    worse = tuple(one for one in class_changes(run, base)[:10] if one.change < 0 and replicates)
    return Baseline(path, same, len(base.counts.sizes), drawn, seed, worse)


def _false_alarm(demands: Demands, tested: int) -> float | None:
    """Return an upper limit of the probability that chance alone fails any of ``tested`` checks."""
    if demands.confidence is None or not tested:
        return None
    return round(1 - demands.confidence ** (1 if demands.family else tested), 12)


def _chance(demands: Demands, tested: int) -> tuple[str, ...]:
    """Return a note on the false alarm probability of several checks together."""
    chance = _false_alarm(demands, tested)
    if chance is None or tested < 2:
        return ()
    level = f"{100 * (demands.confidence or DEFAULT_CONFIDENCE):g} %"
    if demands.family:
        return (
            f"{tested} checks against the baseline are judged as a family at {level} (Holm): the "
            f"chance that any of them fails by chance alone is at most {rate(chance)}.",
        )
    return (
        f"{tested} checks against the baseline at {level} each: the chance that any of them fails "
        f"by chance alone is up to {rate(chance)}. --family keeps it at "
        f"{rate(round(1 - (demands.confidence or DEFAULT_CONFIDENCE), 12))}.",
    )


def _notes(
    run: Evaluation, baseline: Evaluation | None, demands: Demands, at: Operating | None
) -> tuple[str, ...]:
    """Return the notes that a reader needs to judge the verdict."""
    notes, metric = [], run.settings.metric
    above, below = ("below", "above") if metric in SIMILARITIES else ("above", "below")
    if at is not None and not at.exact:
        frr_at = "no threshold" if at.frr_at is None else shown(at.frr_at, metric)
        known = as_known(at.threshold, metric)
        notes.append(
            f"The deployed threshold {shown(at.threshold, metric)} is no grid threshold of the "
            f"run: FAR is that at the next {above}, {shown(at.far_at, metric)}, and FRR that at "
            f"the next {below}, {frr_at}. "
            f"`opis evaluate --threshold {known!r}` counts both exactly."
        )
    if at is not None and (at.class_far_at, at.class_frr_at) != (at.far_at, at.frr_at):
        frr_at = "none" if at.class_frr_at is None else shown(at.class_frr_at, metric)
        notes.append(
            f"Rates of {run.report.source.many} are counted at {shown(at.class_far_at, metric)} "
            f"(FAR) and {frr_at} (FRR), the next thresholds with counts by "
            f"{run.report.source.one}, and are at most these."
        )
    if _met_by_construction(run, demands, at):
        notes.append(
            "Every limit is met by construction: the threshold was recommended to meet it. Judge "
            "the threshold in use (--threshold), or set a limit on recall@1, FRR or OPIS."
        )
    if baseline is not None:
        notes += _baseline_notes(run, baseline, demands)
    return tuple(notes)


def _met_by_construction(run: Evaluation, demands: Demands, at: Operating | None) -> bool:
    """Whether each limit is on a rate that the recommended threshold was chosen to bound."""
    if at is None or at.kind != "recommended" or not demands.limits:
        return False
    bounds = {name: getattr(run.settings, name) for name in BOUNDS}
    bounds["max_far"] = run.settings.bounds[0]
    return all(
        (bound := bounds.get(limit.rule.field)) is not None
        and (limit.amount <= bound if limit.rule.least else limit.amount >= bound)
        for limit in demands.limits
    )


def _baseline_notes(run: Evaluation, baseline: Evaluation, demands: Demands) -> list[str]:
    notes = []
    if demands.need_flips and not demands.worsenings:
        pass
    elif demands.limits and not demands.worsenings:
        notes.append("No limit is set against the baseline, so nothing was judged by it.")
    elif changes.same_classes(run, baseline) is None:
        notes.append(
            f"The {run.report.source.many} are not those of the baseline, so there is no paired "
            "interval: the differences themselves decide."
        )
    elif not have_units(run, baseline):
        notes.append(
            "Intervals draw classes with all pairs of their rows. There are none such by group, "
            "with a gallery, or of scored pairs: the differences themselves decide."
        )
    elif demands.confidence is None:
        notes.append(
            "Differences themselves decide, chance included; --confidence 0.95 fails only what "
            "the classes prove."
        )
    return notes
