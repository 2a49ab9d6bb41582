"""Build the report on counts: facts about the source, and all scores."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import opis_cli
from opis_cli.records import Embeddings, PairCounts
from opis_cli.report import records as rep
from opis_cli.report.advice import advise
from opis_cli.report.input_warnings import ROWS_NAMED, input_warnings, label_conflicts
from opis_cli.scoring.curves import class_rates, evaluable_classes
from opis_cli.scoring.deployed import judge_deployed, worst_classes
from opis_cli.scoring.inequity import differentials
from opis_cli.scoring.operating import operating_points
from opis_cli.scoring.opis import Consistency, EpsOpis, consistency_of, opis_by
from opis_cli.scoring.pooled import equal_error, recall_at_1
from opis_cli.scoring.search import open_set
from opis_cli.settings import Settings
from opis_cli.statistics.held_out import held_out
from opis_cli.statistics.intervals import intervals
from opis_cli.statistics.llr_held_out import llr_of
from opis_cli.statistics.noise import corrected


def build_report(
    counts: PairCounts,
    source: rep.SourceFacts,
    settings: Settings,
    deployed: float | None = None,
    sample: rep.Sample | None = None,
) -> rep.Report:
    """Build the report on counts.

    Parameters
    ----------
    counts : PairCounts
    source : SourceFacts
        Facts about the source, with the warnings that counts alone cannot tell.
    settings : Settings
    deployed : float, optional
        The deployed threshold. It must be a grid threshold.
    sample : Sample, optional
        Facts about the rows from which the classes were drawn.

    Returns
    -------
    Report
        Its timings are 0, and it has no digest of a counts file.
    """
    beta, eps, seed = settings.beta, settings.eps, settings.seed
    max_far, max_frr = settings.bounds
    consistency = consistency_of(counts, settings.calibration_range, beta, eps)
    advice = advise(counts, consistency, settings, deployed)
    chosen = advice.recommendation
    at, noise = chosen.threshold, corrected(counts, beta, seed)
    return rep.Report(
        schema_version=rep.SCHEMA_VERSION,
        opis_version=opis_cli.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=dataclasses.replace(
            source, warnings=(*source.warnings, *input_warnings(counts, settings, noise))
        ),
        settings=dataclasses.asdict(settings),
        pairs=_pairs(counts, sample),
        calibration_range=_calibration_range(consistency, settings, at),
        opis=consistency.opis,
        eps_opis=_eps_opis(consistency, eps),
        opis_by=opis_by(consistency),
        opis_corrected=noise,
        recall_at_1=recall_at_1(counts),
        eer=equal_error(counts),
        operating_points=operating_points(counts),
        recommendation=chosen,
        worst_classes=worst_classes(
            counts, consistency, None if at is None else class_rates(counts, beta, at)
        ),
        deployed=None
        if deployed is None
        else judge_deployed(counts, consistency, deployed, max_far, max_frr, beta, settings.prior),
        intervals=intervals(counts, consistency, chosen, beta=beta, eps=eps, seed=seed),
        held_out=held_out(counts, max_far, max_frr),
        differentials=differentials(counts, at),
        groups=advice.groups,
        open_set=open_set(counts, at),
        review=advice.review,
        costs=advice.costs,
        llr=llr_of(counts, seed),
        duplicates=_duplicates(counts),
        sample=sample,
        timings=rep.Timings(0.0, 0.0, 0.0, 0.0, 0.0),
        counts_sha256=None,
    )


def facts_of_embeddings(
    counts: PairCounts, embeddings: Embeddings, settings: Settings
) -> rep.SourceFacts:
    """Return the facts about the source of embeddings."""
    source = embeddings.source
    return rep.SourceFacts(
        path=_utf8(source.path),
        sha256=source.sha256,
        labels_sha256=source.labels_sha256,
        rows=counts.rows,
        dim=embeddings.dim,
        dropped_rows=embeddings.dropped_rows,
        group_column=settings.group_column,
        gallery_rows=embeddings.gallery_rows,
        gallery_sha256=None if source.gallery is None else source.gallery.sha256,
        embedding_column=source.embedding_column,
        label_column=source.label_column,
        remedy=source.remedy,
        remedy_sha256=source.remedy_sha256,
        ignored_rows=None if settings.ignore_label is None else embeddings.ignored_rows,
        bits_of_number=embeddings.bits_of_number,
        warnings=(*embeddings.warnings, *label_conflicts(counts, embeddings)),
        **_class_facts(counts),
    )


def facts_of_pairs(
    counts: PairCounts, path: str, sha256: str, rows: int, dropped_rows: int, settings: Settings
) -> rep.SourceFacts:
    """Return the facts about the source of scored pairs."""
    return rep.SourceFacts(
        path=_utf8(path),
        sha256=sha256,
        labels_sha256=None,
        rows=rows,
        dim=None,
        dropped_rows=dropped_rows,
        group_column=settings.group_column,
        **_class_facts(counts),
    )


def sample_of(embeddings: Embeddings, settings: Settings) -> rep.Sample | None:
    """Return facts about the rows from which the sample was drawn, or None without a sample.

    ``settings`` are those that the user gave.
    """
    source = embeddings.sampled_from
    if source is None:
        return None
    timed = settings.max_pairs is None or source.max_pairs < settings.max_pairs
    return rep.Sample(
        source.max_pairs,
        source.rows,
        source.classes,
        source.tenants,
        settings.time_limit_seconds if timed else None,
    )


def _class_facts(counts: PairCounts) -> dict[str, Any]:
    """Return the number of classes or groups, and of those with and without both kinds of pairs."""
    evaluable = len(evaluable_classes(counts))
    return {
        "classes": len(counts.sizes),
        "evaluable_classes": evaluable,
        "singleton_classes": len(counts.sizes) - evaluable,
    }


def _utf8(path: str) -> str:
    """Return a path as valid UTF-8. A file name may contain other bytes, but a report may not."""
    return path.encode(errors="replace").decode()


def _pairs(counts: PairCounts, sample: rep.Sample | None) -> rep.Pairs:
    genuine, impostor = (0, 0) if counts.unscored is None else counts.unscored.tolist()
    return rep.Pairs(
        counts.genuine_total,
        counts.impostor_total,
        exhaustive=sample is None,
        excluded=counts.excluded,
        unscored_genuine=genuine,
        unscored_impostor=impostor,
    )


def _calibration_range(
    consistency: Consistency, settings: Settings, recommended_at: float | None
) -> rep.CalibrationRange:
    asked, known = settings.calibration_range, len(consistency.ends) > 0
    return rep.CalibrationRange(
        by=asked.by,
        low=asked.low,
        high=asked.high,
        threshold_low=consistency.low if known else None,
        threshold_high=consistency.high if known else None,
        points=consistency.points,
        contains_recommendation=None
        if recommended_at is None or not known
        else consistency.holds(recommended_at),
    )


def _eps_opis(consistency: Consistency, eps: float) -> EpsOpis:
    return EpsOpis(
        eps=eps,
        value=consistency.eps_opis,
        worst_classes=len(consistency.worst),
        opis_worst=consistency.opis_worst,
        opis_rest=consistency.opis_rest,
        opis_gap=consistency.opis_gap,
    )


def _duplicates(counts: PairCounts) -> rep.Duplicates | None:
    """Return the rows at distance 0 of another row, or None if counting did not look for them."""
    if counts.duplicates is None:
        return None
    return rep.Duplicates(
        rows=len(counts.duplicates),
        pairs=int(counts.pooled_genuine[0] + counts.pooled_impostor[0]),
        first=tuple(counts.duplicates[:ROWS_NAMED].tolist()),
        conflicts=int(counts.pooled_impostor[0]),
    )
