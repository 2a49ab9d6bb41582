"""``evaluate``: read embeddings, count pairs, and score the counts."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opis_cli.config import merge
from opis_cli.counting import scored_counts, scored_pairs
from opis_cli.counting.count import Progress, choose_engine, count_pairs
from opis_cli.counting.memory import Announce
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.embeddings.clean import ARRAYS, Reading, from_arrays
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.embeddings.read import read_as
from opis_cli.embeddings.sources import Given, parts_of
from opis_cli.errors import InputError
from opis_cli.records import Embeddings, PairCounts
from opis_cli.report.build import build_report, facts_of_embeddings, facts_of_pairs, sample_of
from opis_cli.report.records import Report, Timings
from opis_cli.report.threshold_file import read_threshold
from opis_cli.run import Run
from opis_cli.settings import Settings


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
        A file of embeddings, a folder, a file name pattern, a list of these, or the vectors as an
        array.
    labels : array-like of shape (N,), or a path, optional
        Class of each row. If the source is a path without labels, the path of a labels file.
    columns : mapping of names to array-likes of shape (N,), optional
        Columns that a setting names, such as ``group_column="customer"``. For arrays only.
    gallery : path, or tuple (vectors, labels) or (vectors, labels, columns), optional
        Rows to search in. Each pair is then a row of the source and a row of the gallery.
    **settings
        Any field of ``opis_cli.settings.Settings``: ``metric="euclidean"``, ``max_far=1e-4``, ...

    Returns
    -------
    Run
        It has ``report``, ``classes()``, ``plot()``, ``recommend()`` and ``save()``.

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
    run = evaluate_embeddings(embeddings, chosen, read_seconds=time.perf_counter() - start)
    return dataclasses.replace(run, embeddings=embeddings)


def _is_given(source: Any) -> bool:
    """Return whether a source is a path or a list of paths, and not an array of vectors."""
    parts = source if isinstance(source, list | tuple) and source else [source]
    return all(isinstance(part, str | Path) for part in parts)


def _from_arrays(queries: tuple[Any, ...], gallery: Any, settings: Settings) -> Embeddings:
    """Return the embeddings of arrays, with those of a gallery if there is one.

    Parameters
    ----------
    queries : tuple (vectors, labels, columns)
    gallery : tuple (vectors, labels) or (vectors, labels, columns), or None
    settings : Settings
    """

    def part(arrays: tuple[Any, ...], asked: Reading) -> Embeddings:
        vectors, labels, columns = (*arrays, None)[:3]
        return from_arrays(vectors, labels, asked, columns=columns)

    own = part(queries, Reading.of(settings))
    if gallery is None:
        return own
    if not isinstance(gallery, tuple) or len(gallery) not in (2, 3):
        raise InputError("the gallery of arrays is a tuple: (vectors, labels), or with columns too")
    return with_gallery(own, part(gallery, Reading.of(settings, gallery=True)))


def evaluate_file(
    source: Given,
    settings: Settings,
    progress: Progress = lambda done, total: None,
    announce: Announce = lambda text: None,
    sizes: Sizes = SIZES,
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
    """
    start = time.perf_counter()
    if settings.pairs:
        return _evaluate_pairs(source, settings, progress, sizes)
    embeddings = read_as(source, settings)
    seconds = time.perf_counter() - start
    return evaluate_embeddings(
        embeddings,
        settings,
        read_seconds=seconds,
        progress=progress,
        announce=announce,
        sizes=sizes,
    )


def evaluate_embeddings(
    embeddings: Embeddings,
    settings: Settings,
    *,
    read_seconds: float = 0.0,
    progress: Progress = lambda done, total: None,
    announce: Announce = lambda text: None,
    sizes: Sizes = SIZES,
) -> Run:
    """Count the pairs of clean embeddings, and score the counts."""
    given = settings.threshold
    deployed = None if given is None else read_threshold(given, settings.metric)
    start = time.perf_counter()
    counts = count_pairs(embeddings, settings, deployed, progress, announce, sizes)
    counted = time.perf_counter()
    engine = choose_engine(settings.engine, _total(counts) + counts.excluded, embeddings)
    settings = dataclasses.replace(settings, engine=engine)  # type: ignore[arg-type]
    facts, sample = (
        facts_of_embeddings(counts, embeddings, settings),
        sample_of(embeddings, settings),
    )
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
