"""``evaluate``: the few lines that join reading, counting and scoring."""

import dataclasses
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import opis_cli
from opis_cli import pairs, readers, scores
from opis_cli import report as rep
from opis_cli.curves import evaluable_classes
from opis_cli.embeddings import from_arrays
from opis_cli.errors import InputError
from opis_cli.files import read_threshold
from opis_cli.recommend import (
    ClassRates,
    class_rates,
    judge_deployed,
    operating_points,
    recommend,
)
from opis_cli.records import Embeddings, PairCounts
from opis_cli.runs import Run
from opis_cli.scores import Consistency
from opis_cli.settings import Settings, merge

WORST_CLASSES = 10


def evaluate(source: Any, labels: Any = None, **settings: Any) -> Run:
    """Count all pairs of embeddings, score them, and recommend a threshold.

    Parameters
    ----------
    source : str, Path, or array-like of shape (N, D)
        A file or folder of embeddings, or the vectors themselves.
    labels : array-like of shape (N,), or a path, optional
        Class of each row. With a path as source: a labels file, where the source has none.
    **settings
        Any of ``opis_cli.settings.Settings``: ``metric="euclidean"``, ``max_far=1e-4``, ...

    Returns
    -------
    Run
        With ``report``, ``classes()``, ``plot()``, ``recommend()`` and ``save()``.

    Raises
    ------
    OpisError
        The input or a setting is not usable; the message says what to do.
    """
    if isinstance(source, str | Path):
        if labels is not None and not isinstance(labels, str | Path):
            raise InputError(
                "the labels of a file are a path too; for arrays, load both and give the vectors"
            )
        chosen = merge({}, settings | {"labels": None if labels is None else str(labels)})
        return evaluate_file(source, chosen)
    if labels is None:
        raise InputError("there are no labels; give one for each vector")
    chosen = merge({}, settings)
    start = time.perf_counter()
    embeddings = from_arrays(source, labels, metric=chosen.metric, on_bad_rows=chosen.on_bad_rows)
    return evaluate_embeddings(embeddings, chosen, read_seconds=time.perf_counter() - start)


def evaluate_file(
    source: str | Path,
    settings: Settings,
    progress: pairs.Progress = lambda done, total: None,
    announce: pairs.Announce = lambda text: None,
) -> Run:
    """``evaluate`` for a file or folder, with all settings in one record."""
    start = time.perf_counter()
    embeddings = readers.read_as(source, settings)
    seconds = time.perf_counter() - start
    return evaluate_embeddings(
        embeddings, settings, read_seconds=seconds, progress=progress, announce=announce
    )


def evaluate_embeddings(
    embeddings: Embeddings,
    settings: Settings,
    *,
    read_seconds: float = 0.0,
    progress: pairs.Progress = lambda done, total: None,
    announce: pairs.Announce = lambda text: None,
) -> Run:
    """Count and score clean embeddings."""
    given = settings.threshold
    deployed = None if given is None else read_threshold(given, settings.metric)
    start = time.perf_counter()
    counts = pairs.count_pairs(embeddings, settings, deployed, progress, announce)
    counted = time.perf_counter()
    total = counts.genuine_total + counts.impostor_total
    report = _score(counts, embeddings, settings, deployed)
    timings = rep.Timings(
        read=round(read_seconds, 4),
        count=round(counted - start, 4),
        score=round(time.perf_counter() - counted, 4),
        write=0.0,
        pairs_per_second=round(total / (counted - start)),
    )
    return Run(counts, dataclasses.replace(report, timings=timings))


def _score(
    counts: PairCounts, embeddings: Embeddings, settings: Settings, deployed: float | None
) -> rep.Report:
    """The report on counts: everything but the timings."""
    calibration = settings.calibration_range
    found = scores.consistency(counts, calibration, settings.beta, settings.eps)
    max_far, max_frr = settings.bounds
    chosen = recommend(
        counts,
        found,
        max_far=max_far,
        max_frr=max_frr,
        prefer=settings.prefer,
        beta=settings.beta,
    )
    at = chosen.threshold
    rate, threshold = scores.equal_error(counts)
    return rep.Report(
        schema_version=rep.SCHEMA_VERSION,
        opis_version=opis_cli.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source=_source_facts(counts, embeddings),
        settings=dataclasses.asdict(settings)
        | {
            "engine": pairs.choose_engine(
                settings.engine, counts.genuine_total + counts.impostor_total
            ),
        },
        pairs=rep.Pairs(counts.genuine_total, counts.impostor_total, exhaustive=True),
        calibration_range=rep.CalibrationRange(
            by=calibration.by,
            low=calibration.low,
            high=calibration.high,
            threshold_low=found.low,
            threshold_high=found.high,
            points=found.points,
            contains_recommendation=None if at is None else found.low <= at <= found.high,
        ),
        opis=found.opis,
        eps_opis=rep.EpsOpis(
            settings.eps,
            found.eps_opis,
            len(found.worst),
            found.opis_worst,
            found.opis_rest,
            found.opis_gap,
        ),
        recall_at_1=scores.recall_at_1(counts),
        recommendation=chosen,
        deployed=None
        if deployed is None
        else judge_deployed(counts, deployed, max_far, max_frr, settings.beta),
        eer=rep.EqualError(rate, threshold),
        operating_points=operating_points(counts),
        worst_classes=_worst_classes(
            counts, found, None if at is None else class_rates(counts, settings.beta, at)
        ),
        timings=rep.Timings(0.0, 0.0, 0.0, 0.0, 0.0),
        counts_sha256=None,
    )


def _source_facts(counts: PairCounts, embeddings: Embeddings) -> rep.SourceFacts:
    evaluable = len(evaluable_classes(counts))
    return rep.SourceFacts(
        # A file name need not be UTF-8; a report is.
        path=embeddings.source.path.encode(errors="replace").decode(),
        sha256=embeddings.source.sha256,
        labels_sha256=embeddings.source.labels_sha256,
        rows=counts.rows,
        dim=int(embeddings.vectors.shape[1]),
        classes=len(counts.sizes),
        evaluable_classes=evaluable,
        singleton_classes=len(counts.sizes) - evaluable,
        dropped_rows=embeddings.dropped_rows,
    )


def _worst_classes(
    counts: PairCounts, found: Consistency, rates: ClassRates | None
) -> tuple[rep.WorstClass, ...]:
    """The classes of least utility at the threshold, or over the range where there is none."""
    ranking = found.mean_utilities if rates is None else rates.utility
    order = np.lexsort((found.mean_utilities, ranking))[:WORST_CLASSES]
    names = counts.class_names[found.classes].tolist()
    return tuple(
        rep.WorstClass(
            class_name=names[i],
            size=int(counts.sizes[found.classes[i]]),
            utility=None if rates is None else float(rates.utility[i]),
            mean_utility=float(found.mean_utilities[i]),
            opis_contribution=float(found.contributions[i]),
            far=None if rates is None else float(rates.far[i]),
            frr=None if rates is None else float(rates.frr[i]),
        )
        for i in order
    )
