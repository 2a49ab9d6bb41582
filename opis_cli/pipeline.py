"""``evaluate``: read embeddings, count pairs, and score the counts."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opis_cli.config import merge
from opis_cli.counting import scored_counts, scored_pairs
from opis_cli.counting.count import Progress, count_pairs
from opis_cli.counting.memory import Announce, silent
from opis_cli.counting.prepared import choose_engine
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.embeddings.clean import ARRAYS, Reading, from_arrays
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.embeddings.read import read_as
from opis_cli.embeddings.sampling import Allowance
from opis_cli.embeddings.sources import Given, parts_of
from opis_cli.errors import InputError
from opis_cli.records import Embeddings, PairCounts
from opis_cli.remedies.artefact import remedied
from opis_cli.report.build import build_report, facts_of_embeddings, facts_of_pairs, sample_of
from opis_cli.report.records import Report, Timings
from opis_cli.report.threshold_file import read_threshold
from opis_cli.run import Run
from opis_cli.settings import (
    ABOUT,
    Device,
    Dtype,
    Engine,
    Metric,
    MissingScore,
    OnBadRows,
    Prefer,
    Settings,
)
from opis_cli.time_limit import TimeLimit, measured


def evaluate(
    source: Any,
    labels: Any = None,
    *,
    columns: Mapping[str, Any] | None = None,
    gallery: Any = None,
    embedding_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    within_column: str | None = None,
    exclude_same: str | None = None,
    gallery_labels: str | Path | None = None,
    pairs: bool = False,
    score_column: str | None = None,
    higher_is_closer: bool | None = None,
    missing_score: MissingScore | None = None,
    metric: Metric = "cosine",
    remedy: str | Path | None = None,
    calibration: str = "far:0.01..0.10",
    beta: float = 1.0,
    eps: float = 0.1,
    max_far: float | None = None,
    max_frr: float | None = None,
    max_false_accepts_per_query: float | None = None,
    max_fpir: float | None = None,
    min_precision: float | None = None,
    min_identification: float | None = None,
    threshold: float | str | Path | None = None,
    prefer: Prefer = "utility",
    review: bool = False,
    prior: float | None = None,
    cost_fa: float | None = None,
    cost_fr: float | None = None,
    cost_review: float | None = None,
    on_bad_rows: OnBadRows = "error",
    ignore_label: str | None = None,
    engine: Engine = "auto",
    device: Device | None = None,
    dtype: Dtype = "float32",
    scheduler: str | None = None,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    folds: int | None = None,
    confidence: float | None = None,
    max_pairs: int | None = None,
    time_limit: int | str | None = None,
) -> Run:
    """Count all pairs of embeddings, score them, and recommend a threshold.

    Parameters
    ----------
    source : str, Path, list of these, or array-like of shape (N, D)
        A file of embeddings, a folder, a file name pattern, a list of these, or the vectors as an
        array.
    labels : array-like of shape (N,), or a path, optional
        Class of each row. If the source is a path without labels, the path of a labels file.
    columns : mapping of names to array-likes of shape (N,), optional
        Columns that a setting names, such as ``group_column="customer"``. For arrays only.
    gallery : path, or tuple (vectors, labels) or (vectors, labels, columns), optional
        Rows to search in. Each pair is then a row of the source and a row of the gallery.
    embedding_column : str, optional
        Column of vectors, or a pattern of numeric columns: ``"emb_*"``. Guessed by default.
    label_column : str, optional
        Column of class labels. Guessed by default.
    group_column : str, optional
        Column of groups (customer, device, language) to judge instead of the classes.
    within_column : str, optional
        Only rows that share this column's value are pairs, such as ``"tenant"``.
    exclude_same : str, optional
        Rows that share this column's value are no pair, such as ``"session"``.
    gallery_labels : path, optional
        Labels file of the gallery.
    pairs : bool
        Whether the source has scored pairs: columns ``score`` or ``distance``, and ``genuine``.
    score_column : str, optional
        Column of scores of scored pairs. By default ``score`` or ``distance``.
    higher_is_closer : bool, optional
        Which way round the scores are. By default it is told from their name or the data.
    missing_score : {"error", "reject", "drop"}, optional
        What to do with scored pairs without a score. By default as ``on_bad_rows``.
    metric : {"cosine", "euclidean", "hamming"}
        Distance of two vectors.
    remedy : path, optional
        Folder of a fitted remedy that changes the vectors first, as ``Remedies.save`` writes it.
    calibration : str
        Range to judge consistency over: ``"far:LOW..HIGH"``, ``"frr:LOW..HIGH"`` or
        ``"distance:LOW..HIGH"``.
    beta : float
        Weight of few false rejects in the utility.
    eps : float
        Share of classes that count as worst.
    max_far, max_frr : float, optional
        Bounds on the pooled rates, shares from 0 to 1. If neither is given, ``max_far`` is 0.01.
    max_false_accepts_per_query : float, optional
        Bound on the wrong rows that one search returns, on average.
    max_fpir : float, optional
        Bound on the share of the queries without a genuine gallery row that accept a gallery row.
    min_precision : float, optional
        Least genuine share of the accepted pairs, at ``prior``.
    min_identification : float, optional
        Least share of the searches whose nearest row has the same label and is accepted.
    threshold : float, str, or path of a threshold.json, optional
        A deployed threshold to judge too. A text may name a scale: ``"similarity:0.8"``.
    prefer : {"utility", "low-far", "low-frr", "worst-classes", "cost"}
        Choice within the bounds. For ``"cost"``, the least expected cost, no bound is needed.
    review : bool
        Whether to report two thresholds: accept by ``max_far``, refuse by ``max_frr``, and review
        between.
    prior : float, optional
        Share of genuine pairs where the threshold will be used.
    cost_fa, cost_fr, cost_review : float, optional
        Cost of an accepted impostor pair, of a rejected genuine pair, and of a pair that a person
        reviews.
    on_bad_rows : {"error", "drop"}
        What to do with nulls, NaN and zero vectors.
    ignore_label : str, optional
        Label whose rows are left out. With ``":impostor"`` behind it, they are kept as rows without
        a class.
    engine : {"auto", "numpy", "numba", "torch", "dask"}
        What counts the pairs.
    device : {"cpu", "cuda"}, optional
        Device of the torch engine. By default cuda if there is one.
    dtype : {"float32", "tf32"}
        Precision of the products. ``"tf32"`` is for the torch engine.
    scheduler : str, optional
        Address of a cluster for the dask engine: ``"tcp://HOST:PORT"``. By default a local one.
    threads : int, optional
        Number of counting threads. By default one for each processor.
    memory_limit : int or str, optional
        Memory of the whole process in bytes, or as ``"4GB"``.
    checkpoint : path, optional
        Folder that keeps partial counts, so that a later call goes on from them.
    seed : int
        Seed of random choices.
    folds : int, optional
        Number of folds of classes in which the threshold is tried on held-out classes.
    confidence : float, optional
        Confidence with which the bounds must hold on other classes, such as 0.95. By default they
        hold on these classes.
    max_pairs : int, optional
        Estimate from whole classes drawn at random, with at most so many pairs.
    time_limit : int or str, optional
        Seconds that the call may take, or as ``"2min"``. It chooses ``max_pairs`` by the speed of
        this machine.

    Returns
    -------
    Run
        It has ``report``, ``classes()``, ``plot()``, ``recommend()``, ``gate()`` and ``save()``.

    Raises
    ------
    OpisError
        The input or a setting is not usable; the message says what to do.
    """
    # Every parameter that is a setting, by its name. Nothing else may be local here yet.
    settings = {name: value for name, value in locals().items() if name in ABOUT}
    del settings["labels"], settings["gallery"]
    chosen = _settings_of(source, labels, columns, gallery, settings)
    if _is_given(source):
        return evaluate_file(source, chosen)
    start = time.perf_counter()
    limit = _time_limit(chosen, start)
    embeddings = _from_arrays((source, labels, columns), gallery, chosen, limit)
    run = evaluate_embeddings(embeddings, chosen, read_seconds=time.perf_counter() - start)
    return dataclasses.replace(run, embeddings=embeddings)


def read_source(
    source: Any,
    labels: Any,
    columns: Mapping[str, Any] | None,
    gallery: Any,
    settings: Mapping[str, Any],
) -> tuple[Embeddings, Settings]:
    """Read files or arrays, as ``evaluate`` takes them, and return the settings too.

    Parameters
    ----------
    source, labels, columns, gallery
        As for ``evaluate``.
    settings : mapping of names to values
        Other settings that are given.
    """
    chosen = _settings_of(source, labels, columns, gallery, settings)
    if _is_given(source):
        return read_as(source, chosen), chosen
    return _from_arrays((source, labels, columns), gallery, chosen), chosen


def _settings_of(
    source: Any,
    labels: Any,
    columns: Mapping[str, Any] | None,
    gallery: Any,
    settings: Mapping[str, Any],
) -> Settings:
    """Return the settings for a source.

    Raises
    ------
    InputError
        Labels, columns or gallery do not go with the source.
    SettingsError
        A setting is not usable.
    """
    given = dict(settings)
    if _is_given(source):
        if labels is not None and not isinstance(labels, str | Path):
            raise InputError(
                "the labels of a file are a path too; for arrays, load both and give the vectors"
            )
        if columns is not None or not isinstance(gallery, str | Path | None):
            raise InputError("a file's columns and gallery are in files too; give names and a path")
        return merge({}, given | {"labels": labels and str(labels), "gallery": gallery})
    if labels is None:
        raise InputError("there are no labels; give one for each vector")
    return merge({}, given | {"gallery": None if gallery is None else ARRAYS})


def _is_given(source: Any) -> bool:
    """Return whether a source is a path or a list of paths, and not an array of vectors."""
    parts = source if isinstance(source, list | tuple) and source else [source]
    return all(isinstance(part, str | Path) for part in parts)


def _from_arrays(
    queries: tuple[Any, ...],
    gallery: Any,
    settings: Settings,
    allowance: Allowance | None = None,
) -> Embeddings:
    """Return the embeddings of arrays, with those of a gallery if there is one.

    Parameters
    ----------
    queries : tuple (vectors, labels, columns)
    gallery : tuple (vectors, labels) or (vectors, labels, columns), or None
    settings : Settings
    allowance : Allowance, optional
        The time that there is.
    """

    def part(arrays: tuple[Any, ...], asked: Reading) -> Embeddings:
        vectors, labels, columns = (*arrays, None)[:3]
        return from_arrays(vectors, labels, asked, columns=columns)

    asked = dataclasses.replace(Reading.of(settings), allowance=allowance)
    if gallery is None:
        return part(queries, asked)
    if not isinstance(gallery, tuple) or len(gallery) not in (2, 3):
        raise InputError("the gallery of arrays is a tuple: (vectors, labels), or with columns too")
    searched = part(gallery, Reading.of(settings, gallery=True))
    return with_gallery(part(queries, dataclasses.replace(asked, gallery=searched)), searched)


def evaluate_file(
    source: Given,
    settings: Settings,
    progress: Progress = lambda done, total: None,
    announce: Announce = silent,
    sizes: Sizes = SIZES,
    *,
    saved: bool = False,
    begun: float | None = None,
) -> Run:
    """Evaluate files. The settings come in one record.

    Parameters
    ----------
    source : str, Path, or list of these
    settings : Settings
    progress : callable
        Called with the work that is done and the total.
    announce : callable
        Called with a text for the user.
    sizes : Sizes
        Numbers of pairs, rows and classes at which counting changes its method.
    saved : bool
        Whether the run will be written, which a time limit must allow for.
    begun : float, optional
        When the time of a limit began, by ``time.perf_counter``. By default it is now.
    """
    start = time.perf_counter()
    if settings.pairs:
        return _evaluate_pairs(source, settings, progress, sizes)
    limit = _time_limit(settings, start if begun is None else begun, announce, saved)
    embeddings = read_as(source, settings, allowance=limit)
    seconds = time.perf_counter() - start
    return evaluate_embeddings(
        embeddings,
        settings,
        read_seconds=seconds,
        progress=progress,
        announce=announce,
        sizes=sizes,
    )


def _time_limit(
    settings: Settings, begun: float, announce: Announce = silent, saved: bool = False
) -> TimeLimit | None:
    if settings.time_limit is None:
        return None
    return TimeLimit(settings, begun, announce, saved, measured)


def as_counted(
    embeddings: Embeddings, settings: Settings
) -> tuple[Embeddings, Settings, float | None]:
    """Return the rows as their pairs are counted, with the settings and the deployed threshold.

    A remedy changes the rows and the metric, if the settings name one.
    """
    embeddings, settings = remedied(embeddings, settings)
    given = settings.threshold
    deployed = None if given is None else read_threshold(given, settings.metric)
    return embeddings, settings, deployed


def evaluate_embeddings(
    embeddings: Embeddings,
    settings: Settings,
    *,
    read_seconds: float = 0.0,
    progress: Progress = lambda done, total: None,
    announce: Announce = silent,
    sizes: Sizes = SIZES,
    count: Callable[..., PairCounts] = count_pairs,
) -> Run:
    """Count the pairs of clean embeddings, and score the counts.

    ``count`` is what counts them; it takes what ``count_pairs`` takes.
    """
    sample = sample_of(embeddings, settings)
    if sample is not None:  # With these pairs at most, the same rows are read again.
        settings = dataclasses.replace(settings, max_pairs=sample.max_pairs)
    embeddings, settings, deployed = as_counted(embeddings, settings)
    start = time.perf_counter()
    counts = count(embeddings, settings, deployed, progress, announce, sizes)
    counted = time.perf_counter()
    engine = choose_engine(settings.engine, _total(counts) + counts.excluded, embeddings)
    settings = dataclasses.replace(settings, engine=engine)  # type: ignore[arg-type]
    facts = facts_of_embeddings(counts, embeddings, settings)
    report = build_report(counts, facts, settings, deployed, sample)
    return _timed(counts, report, read_seconds, start, counted)


def _evaluate_pairs(source: Given, settings: Settings, progress: Progress, sizes: Sizes) -> Run:
    """Evaluate a file of scored pairs."""
    start = time.perf_counter()
    with scored_pairs.read(source, settings, progress, sizes) as found:
        settings = dataclasses.replace(settings, metric=found.metric, engine="numpy")
        given = settings.threshold
        deployed = None if given is None else read_threshold(given, settings.metric)
        read = time.perf_counter()
        counts = scored_counts.count(found, settings, deployed, progress, sizes)
    counted = time.perf_counter()
    path = " ".join(parts_of(source))
    facts = facts_of_pairs(counts, path, found.sha256, found.rows, found.dropped_rows, settings)
    report = build_report(counts, facts, settings, deployed)
    return _timed(counts, report, read - start, read, counted)


def _total(counts: PairCounts) -> int:
    return counts.genuine_total + counts.impostor_total


def _timed(
    counts: PairCounts, report: Report, read_seconds: float, start: float, counted: float
) -> Run:
    """Return a run whose report has the timings.

    Parameters
    ----------
    counts : PairCounts
    report : Report
    read_seconds : float
        Seconds that reading took.
    start, counted : float
        Times of ``time.perf_counter`` when counting began and ended.
    """
    timings = Timings(
        read=round(read_seconds, 4),
        count=round(counted - start, 4),
        score=round(time.perf_counter() - counted, 4),
        write=0.0,
        pairs_per_second=round(_total(counts) / (counted - start)),
    )
    return Run(counts, dataclasses.replace(report, timings=timings))
