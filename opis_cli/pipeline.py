"""``evaluate``: the few lines that join reading, counting and scoring."""

import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import opis_cli
from opis_cli import pairs, readers, scored, scored_counts, scores
from opis_cli import report as rep
from opis_cli.curves import evaluable_classes
from opis_cli.differentials import differentials
from opis_cli.embeddings import ARRAYS, from_arrays
from opis_cli.errors import InputError
from opis_cli.files import read_threshold
from opis_cli.folds import held_out
from opis_cli.gallery import with_gallery
from opis_cli.noise import corrected
from opis_cli.recommend import (
    class_rates,
    judge_deployed,
    operating_points,
    recommend,
    worst_classes,
)
from opis_cli.records import Embeddings, PairCounts
from opis_cli.remote import Given, parts_of
from opis_cli.runs import Run
from opis_cli.settings import Settings, merge
from opis_cli.uncertainty import intervals

DUPLICATES_NAMED = 10


def evaluate(
    source: Any,
    labels: Any = None,
    *,
    columns: Mapping[str, Any] | None = None,
    gallery: Any = None,
    **settings: Any,
) -> Run:
    """Count all pairs of embeddings, score them, and recommend a threshold.

    Parameters
    ----------
    source : str, Path, list of these, or array-like of shape (N, D)
        A file or folder of embeddings, a pattern of files, a list of these, or the vectors
        themselves.
    labels : array-like of shape (N,), or a path, optional
        Class of each row. With a path as source: a labels file, where the source has none.
    columns : mapping of names to array-likes of shape (N,), optional
        For arrays: columns that settings name, as ``group_column="customer"`` does.
    gallery : path, or tuple (vectors, labels) or (vectors, labels, columns), optional
        What the rows are searched in: their pairs are those with rows of the gallery.
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
    if _is_given(source):
        if labels is not None and not isinstance(labels, str | Path):
            raise InputError(
                "the labels of a file are a path too; for arrays, load both and give the vectors"
            )
        if columns is not None or not isinstance(gallery, str | Path | None):
            raise InputError("a file's columns and gallery are in files too; give names and a path")
        chosen = merge({}, settings | {"labels": labels and str(labels), "gallery": gallery})
        return evaluate_file(source, chosen)
    if labels is None:
        raise InputError("there are no labels; give one for each vector")
    chosen = merge({}, settings | {"gallery": None if gallery is None else ARRAYS})
    start = time.perf_counter()
    embeddings = _from_arrays((source, labels, columns), gallery, chosen)
    return evaluate_embeddings(embeddings, chosen, read_seconds=time.perf_counter() - start)


def _is_given(source: Any) -> bool:
    """Whether a source is a path or some paths, not vectors."""
    parts = source if isinstance(source, list | tuple) and source else [source]
    return all(isinstance(part, str | Path) for part in parts)


def _from_arrays(queries: tuple[Any, ...], gallery: Any, settings: Settings) -> Embeddings:
    """Embeddings of (vectors, labels, columns), and of such a gallery if there is one."""

    def part(arrays: tuple[Any, ...], needed: Mapping[str, bool]) -> Embeddings:
        vectors, labels, columns = (*arrays, None)[:3]
        return from_arrays(
            vectors,
            labels,
            columns=columns,
            needed=needed,
            metric=settings.metric,
            on_bad_rows=settings.on_bad_rows,
            paired=gallery is None,
            max_pairs=settings.max_pairs,
            seed=settings.seed,
        )

    if gallery is None:
        return part(queries, settings.columns)
    if not isinstance(gallery, tuple) or len(gallery) not in (2, 3):
        raise InputError("the gallery of arrays is a tuple: (vectors, labels), or with columns too")
    return with_gallery(part(queries, settings.columns), part(gallery, settings.gallery_columns))


def evaluate_file(
    source: Given,
    settings: Settings,
    progress: pairs.Progress = lambda done, total: None,
    announce: pairs.Announce = lambda text: None,
) -> Run:
    """``evaluate`` for files, with all settings in one record."""
    start = time.perf_counter()
    if settings.pairs:
        return _evaluate_pairs(source, settings, progress)
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
    engine = pairs.choose_engine(settings.engine, _total(counts) + counts.excluded)
    settings = dataclasses.replace(settings, engine=engine)  # type: ignore[arg-type]
    facts, sample = _source_facts(counts, embeddings, settings), _sample(embeddings, settings)
    return _run(counts, facts, settings, deployed, (read_seconds, start, counted), sample)


def _evaluate_pairs(source: Given, settings: Settings, progress: pairs.Progress) -> Run:
    """``evaluate`` for a file of scored pairs."""
    start = time.perf_counter()
    with scored.read(source, settings, progress) as found:
        settings = dataclasses.replace(settings, metric=found.metric, engine="numpy")
        given = settings.threshold
        deployed = None if given is None else read_threshold(given, settings.metric)
        read = time.perf_counter()
        counts = scored_counts.count(found, settings, deployed, progress)
    facts = rep.SourceFacts(
        path=_utf8(" ".join(parts_of(source))),
        sha256=found.sha256,
        labels_sha256=None,
        rows=found.rows,
        dim=None,
        dropped_rows=found.dropped_rows,
        group_column=settings.group_column,
        **_class_facts(counts),
    )
    return _run(counts, facts, settings, deployed, (read - start, read, time.perf_counter()))


def _total(counts: PairCounts) -> int:
    return counts.genuine_total + counts.impostor_total


def _run(
    counts: PairCounts,
    facts: rep.SourceFacts,
    settings: Settings,
    deployed: float | None,
    times: tuple[float, float, float],
    sample: rep.Sample | None = None,
) -> Run:
    """A run of counts; ``times``: seconds of reading, and when counting began and ended."""
    report = _score(counts, facts, settings, deployed, sample)
    read_seconds, start, counted = times
    timings = rep.Timings(
        read=round(read_seconds, 4),
        count=round(counted - start, 4),
        score=round(time.perf_counter() - counted, 4),
        write=0.0,
        pairs_per_second=round(_total(counts) / (counted - start)),
    )
    return Run(counts, dataclasses.replace(report, timings=timings))


def _score(
    counts: PairCounts,
    facts: rep.SourceFacts,
    settings: Settings,
    deployed: float | None,
    sample: rep.Sample | None,
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
        confidence=settings.confidence,
    )
    at = chosen.threshold
    rate, threshold = scores.equal_error(counts)
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
        else judge_deployed(counts, found, deployed, max_far, max_frr, settings.beta),
        eer=rep.EqualError(rate, threshold),
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
        open_set=None if counts.open_set is None else rep.OpenSet(*scores.open_set(counts, at)),
        duplicates=_duplicates(counts),
        opis_by=scores.opis_by(scores.consistency_by(counts, found, settings.beta, settings.eps)),
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
