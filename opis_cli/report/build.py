"""The report on counts, a section after the other."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import opis_cli
from opis_cli.records import Embeddings, PairCounts
from opis_cli.report import records as rep
from opis_cli.scoring.curves import class_rates, evaluable_classes
from opis_cli.scoring.deployed import judge_deployed, worst_classes
from opis_cli.scoring.inequity import differentials
from opis_cli.scoring.operating import operating_points
from opis_cli.scoring.opis import EpsOpis, consistency, consistency_by, opis_by
from opis_cli.scoring.pooled import EqualError, OpenSet, equal_error, open_set, recall_at_1
from opis_cli.scoring.recommend import recommend
from opis_cli.settings import Settings
from opis_cli.statistics.held_out import held_out
from opis_cli.statistics.intervals import intervals
from opis_cli.statistics.noise import corrected

DUPLICATES_NAMED = 10


def _score(
    counts: PairCounts,
    facts: rep.SourceFacts,
    settings: Settings,
    deployed: float | None,
    sample: rep.Sample | None,
) -> rep.Report:
    """The report on counts: everything but the timings."""
    calibration = settings.calibration_range
    found = consistency(counts, calibration, settings.beta, settings.eps)
    max_far, max_frr = settings.bounds
    chosen = recommend(
        counts,
        found,
        max_far=max_far,
        max_frr=max_frr,
        prefer=settings.prefer,
        beta=settings.beta,
        confidence=settings.confidence,
    )
    at = chosen.threshold
    rate, threshold = equal_error(counts)
    return rep.Report(
        schema_version=rep.SCHEMA_VERSION,
        opis_version=opis_cli.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=facts,
        settings=dataclasses.asdict(settings),
        pairs=rep.Pairs(
            counts.genuine_total,
            counts.impostor_total,
            exhaustive=sample is None,
            excluded=counts.excluded,
        ),
        calibration_range=rep.CalibrationRange(
            by=calibration.by,
            low=calibration.low,
            high=calibration.high,
            threshold_low=found.low if found.ends else None,
            threshold_high=found.high if found.ends else None,
            points=found.points,
            contains_recommendation=found.low <= at <= found.high
            if at is not None and found.ends
            else None,
        ),
        opis=found.opis,
        eps_opis=EpsOpis(
            settings.eps,
            found.eps_opis,
            len(found.worst),
            found.opis_worst,
            found.opis_rest,
            found.opis_gap,
        ),
        recall_at_1=recall_at_1(counts),
        recommendation=chosen,
        deployed=None
        if deployed is None
        else judge_deployed(counts, found, deployed, max_far, max_frr, settings.beta),
        eer=EqualError(rate, threshold),
        operating_points=operating_points(counts),
        worst_classes=worst_classes(
            counts, found, None if at is None else class_rates(counts, settings.beta, at)
        ),
        timings=rep.Timings(0.0, 0.0, 0.0, 0.0, 0.0),
        counts_sha256=None,
        intervals=intervals(
            counts, found, chosen, beta=settings.beta, eps=settings.eps, seed=settings.seed
        ),
        opis_corrected=corrected(counts, settings.beta, settings.seed),
        held_out=held_out(counts, max_far, max_frr),
        differentials=differentials(counts, at),
        sample=sample,
        open_set=None if counts.open_set is None else OpenSet(*open_set(counts, at)),
        duplicates=_duplicates(counts),
        opis_by=opis_by(consistency_by(counts, found, settings.beta, settings.eps)),
    )


def _sample(embeddings: Embeddings, settings: Settings) -> rep.Sample | None:
    if embeddings.sampled_from is None or settings.max_pairs is None:
        return None
    return rep.Sample(settings.max_pairs, *embeddings.sampled_from)


def _source_facts(
    counts: PairCounts, embeddings: Embeddings, settings: Settings
) -> rep.SourceFacts:
    source = embeddings.source
    return rep.SourceFacts(
        path=_utf8(source.path),
        sha256=source.sha256,
        labels_sha256=source.labels_sha256,
        rows=counts.rows,
        dim=int(embeddings.vectors.shape[1]),
        dropped_rows=embeddings.dropped_rows,
        group_column=settings.group_column,
        gallery_rows=embeddings.gallery_rows,
        gallery_sha256=None if source.gallery is None else source.gallery.sha256,
        **_class_facts(counts),
    )


def _class_facts(counts: PairCounts) -> dict[str, Any]:
    """How many classes or groups there are, and how many of them have a curve."""
    evaluable = len(evaluable_classes(counts))
    return {
        "classes": len(counts.sizes),
        "evaluable_classes": evaluable,
        "singleton_classes": len(counts.sizes) - evaluable,
    }


def _utf8(path: str) -> str:
    """A file name need not be UTF-8; a report is."""
    return path.encode(errors="replace").decode()


def _duplicates(counts: PairCounts) -> rep.Duplicates | None:
    """The rows at distance 0 of another; None where nobody looked for them."""
    if counts.duplicates is None:
        return None
    return rep.Duplicates(
        rows=len(counts.duplicates),
        pairs=int(counts.pooled_genuine[0] + counts.pooled_impostor[0]),
        first=tuple(counts.duplicates[:DUPLICATES_NAMED].tolist()),
    )
