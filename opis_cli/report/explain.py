"""Explain a run: find the pairs, the classes and the rows behind its rates at a threshold."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

import opis_cli
from opis_cli.counting.memory import refuse_memory
from opis_cli.counting.plan import plan_pairs
from opis_cli.embeddings.columns import show
from opis_cli.errors import InputError, SettingsError
from opis_cli.evidence import chains, class_pairs, hardest, merges
from opis_cli.evidence.exact import first_of_lists
from opis_cli.evidence.hardest import Hardest
from opis_cli.evidence.neighbours import neighbours
from opis_cli.evidence.scan import memory_of, scan
from opis_cli.evidence.seen import Seen
from opis_cli.evidence.suspects import find_suspects
from opis_cli.evidence.what_if import Counted, what_if
from opis_cli.machine import processors
from opis_cli.records import Embeddings, Ints, PairCounts
from opis_cli.report import evidence_tables as tables
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import (
    ChainFacts,
    ConflictingRows,
    Conflicts,
    Evidence,
    Facts,
    Outcome,
    WhatIf,
)
from opis_cli.report.threshold_file import read_threshold
from opis_cli.scoring.operating import Operating, rates_at
from opis_cli.scoring.opis import consistency_of
from opis_cli.scoring.recommend import Recommendation
from opis_cli.settings import Settings
from opis_cli.statistics.confidence import recommended
from opis_cli.text import as_known, plain

TOP, PER_CLASS_PAIR = 1_000, 3
"""Most pairs of a kind in the table, and most of one pair of classes."""
MOST_MERGED = 0.1
"""Largest share of the impostor pairs that "what if" turns into genuine ones. Classes that overlap
more are no class twice."""
_LEADING = 10
"""Class pairs whose share of the false accepts is told."""
_NAMED = 20
"""Most groups of equal rows that are named in the figures."""

Progress = Callable[[int, int], None]
"""A function that is called with ``(pairs looked at, pairs in all)``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to explain.

    Attributes
    ----------
    threshold : str, optional
        A number on the user's scale, or the path of a threshold.json. By default the recommended
        threshold.
    top, per_class_pair : int
        Most pairs of a kind to list, and most of one pair of classes.
    of_class : str, optional
        Name of a class, or of a group if the run has groups. Then the pairs have a row of it.
    show_columns : tuple of str
        Columns whose values stand beside each pair.
    id_column : str, optional
        Of scored pairs, the columns with the ids of the two sides, with a comma between.
    """

    threshold: str | None = None
    top: int = TOP
    per_class_pair: int = PER_CLASS_PAIR
    of_class: str | None = None
    show_columns: tuple[str, ...] = ()
    id_column: str | None = None

    def __post_init__(self) -> None:
        for option, value in (("--top", self.top), ("--per-class-pair", self.per_class_pair)):
            if value < 1:
                raise SettingsError(f"{option} is {value}; it must be at least 1")


def explain(
    run: Evaluation,
    embeddings: Embeddings,
    asked: Asked = Asked(),
    progress: Progress = lambda done, total: None,
) -> Evidence:
    """Look at all pairs of a run once more, and find what is behind its rates.

    Parameters
    ----------
    run : Evaluation
    embeddings : Embeddings
        The rows that the run was counted from, with the columns to show.
    asked : Asked
    progress : callable
        Called with (pairs looked at, pairs in all).

    Raises
    ------
    InputError
        The class is not there.
    SettingsError
        There is no threshold, or the work needs more memory than the limit.
    """
    settings, counts = run.settings, run.counts
    if asked.id_column is not None:
        raise SettingsError(
            "--id-column is for scored pairs; to see the ids of these rows, give --show-columns "
            f"{plain(asked.id_column)}"
        )
    group = settings.group_column
    show_columns = tuple(dict.fromkeys(([] if group is None else [group]) + [*asked.show_columns]))
    _check_columns(show_columns, embeddings.columns)
    threads = settings.threads or processors()
    refuse_memory(embeddings, settings, memory_of(len(embeddings.labels), threads))
    plan = plan_pairs(embeddings, settings, threads)
    threshold = threshold_of(run, asked.threshold)
    index = chains.chain_index(counts)
    cuts = plan.rows.cuts_of(counts.grid)
    place = _place_of(counts, threshold)
    cut = plan.rows.cuts(np.array([threshold]))[0] if place is None else cuts[place]
    codes = embeddings.labels[plan.rows.order]
    seen = scan(
        plan,
        codes,
        cut,
        cuts[index],
        engine=settings.engine,
        threads=threads,
        advance=advancing(progress, plan.pairs),
        memory_limit=settings.memory_limit_bytes,
    )
    group_code = None if group is None else _code_among(plan.names, asked.of_class)
    accepts, rejects = _hardest_pairs(embeddings, seen, asked, group_code)
    judged = find_suspects(neighbours(seen))
    suspect = np.full(len(codes), None, object)
    suspect[judged.label], suspect[judged.outlier] = "label", "outlier"
    to_merge = merges.to_merge(seen)
    found = tables.Found(
        embeddings=embeddings,
        seen=seen,
        accepts=accepts,
        rejects=rejects,
        own=first_of_lists(embeddings, plan, seen.own, genuine=True),
        others=first_of_lists(embeddings, plan, seen.others, genuine=False),
        score=judged.score,
        suspect=suspect,
        to_merge=to_merge,
        chains=chains.chains(seen),
        copies=chains.copies(seen),
        parts=chains.parts(seen),
    )
    labels = np.sort(plan.rows.order[judged.label])
    counted = Counted(embeddings, settings, plan, counts)
    facts = _facts(run, found, asked, threshold)
    changed = _what_if(run, counted, labels, to_merge, threshold, threads)
    group = group if group_code is not None else None
    facts = dataclasses.replace(facts, what_if=changed, group_column=group)
    return Evidence(
        facts=facts,
        pairs=tables.pairs_table(found, show_columns),
        class_pairs=tables.class_pairs_table(found),
        rows=tables.rows_table(found, show_columns),
        components=tables.components_table(found),
    )


def _hardest_pairs(
    embeddings: Embeddings, seen: Seen, asked: Asked, group_code: int | None
) -> tuple[Hardest, Hardest]:
    """Return the closest false accepts and the farthest false rejects that are asked for.

    If ``group_code`` is given, the name that is asked for is that of a group, not of a class.
    """
    limits = asked.top, asked.per_class_pair
    if group_code is not None:
        mine = np.flatnonzero(seen.plan.keys == group_code)
        return (
            hardest.errors_of_rows(embeddings, seen, mine, *limits, closest=True),
            hardest.errors_of_rows(embeddings, seen, mine, *limits, closest=False),
        )
    of_class = code_of(embeddings.class_names, asked.of_class)
    return (
        hardest.false_accepts(embeddings, seen, *limits, of_class),
        hardest.false_rejects(embeddings, seen, *limits, of_class),
    )


def advancing(progress: Progress, total: int) -> Callable[[int], None]:
    """Return a function that takes the pairs looked at since, and tells ``progress`` their sum."""
    done = 0

    def advance(pairs: int) -> None:
        nonlocal done
        done += pairs
        progress(done, total)

    return advance


def _place_of(counts: PairCounts, threshold: float) -> int | None:
    """Return the index of a threshold of the grid, or None if it is none."""
    place = counts.grid.index_at(threshold)
    return place if counts.grid.thresholds[place] == threshold else None


def _check_columns(wanted: Sequence[str], there: Iterable[str]) -> None:
    """Refuse a column to show that was not read. Of arrays, only columns of settings are kept.

    Raises
    ------
    InputError
        The message names the columns that are there.
    """
    names = list(there)
    missing = [name for name in wanted if name not in names]
    if missing:
        columns = f"the columns are {show(names)}" if names else "there are none"
        raise InputError(
            f"--show-columns: no column {missing[0]!r}; {columns}. "
            "Of arrays, opis keeps only the columns that a setting names; write the rows to a file"
        )


def threshold_of(run: Evaluation, given: str | None) -> float:
    """Return the threshold to explain, as a distance.

    Raises
    ------
    SettingsError
        No threshold is given, and none meets the bounds of the run.
    """
    if given is not None:
        return read_threshold(given, run.settings.metric)
    if run.report.recommendation.threshold is None:
        raise SettingsError(
            "no threshold meets the bounds of this run, so there is none to explain; give one: "
            "--threshold=T"
        )
    return run.report.recommendation.threshold


def code_of(class_names: NDArray[Any], name: str | None) -> int | None:
    """Return the code of a class by its name as text, or None if there is no name.

    Raises
    ------
    InputError
        There is no such class.
    """
    code = _code_among(class_names, name)
    if name is not None and code is None:
        near = get_close_matches(name, map(str, class_names.tolist()), 1)
        hint = f"; did you mean {plain(near[0])!r}?" if near else ""
        raise InputError(f"--class {plain(name)}: there is no such class{hint}")
    return code


def _code_among(names: NDArray[Any], name: str | None) -> int | None:
    """Return the place of a name, as text, among names, or None if it is not there."""
    texts = [str(one) for one in names.tolist()]
    return texts.index(name) if name in texts else None


def _what_if(
    run: Evaluation,
    counted: Counted,
    left_out: Ints,
    to_merge: Ints,
    threshold: float,
    threads: int,
) -> WhatIf:
    """Compute the figures after the suggested changes."""
    settings = run.settings
    between = class_pairs.pairs_between(
        counted.plan, counted.embeddings.labels[counted.plan.rows.order], *to_merge.T
    )
    if between.sum() > MOST_MERGED * run.counts.impostor_total:
        to_merge = to_merge[:0]
    changed = what_if(counted, left_out, to_merge, settings.engine, threads)
    outcomes = (
        None if counts is None else _outcome(counts, settings, threshold) for counts in changed
    )
    rates = rates_at(run.counts, threshold, settings.beta)
    now = _outcome_of(rates, run.report.opis, run.report.recommendation, settings)
    return WhatIf(now, *outcomes)


def _outcome(counts: PairCounts, settings: Settings, threshold: float) -> Outcome:
    """Compute the figures of counts."""
    rates = rates_at(counts, threshold, settings.beta)
    try:
        consistency = consistency_of(
            counts, settings.calibration_range, settings.beta, settings.eps
        )
    except InputError:
        return Outcome(rates.far, rates.frr, None, None, None, None)
    chosen = recommended(counts, consistency, settings)
    return _outcome_of(rates, consistency.opis, chosen, settings)


def _outcome_of(
    rates: Operating, opis: float | None, chosen: Recommendation, settings: Settings
) -> Outcome:
    """Put figures into an outcome."""
    at = chosen.threshold
    return Outcome(
        far=rates.far,
        frr=rates.frr,
        opis=opis,
        recommended=None if at is None else as_known(at, settings.metric),
        recommended_far=chosen.far,
        recommended_frr=chosen.frr,
    )


def facts_of_errors(
    run: Evaluation,
    asked: Asked,
    threshold: float,
    accepted: Ints,
    class_pairs_there: int,
    errors: tuple[int, int],
) -> Facts:
    """Compute the figures that all runs have.

    Parameters
    ----------
    run : Evaluation
    asked : Asked
    threshold : float
        A distance.
    accepted : ndarray of shape (M,), int64
        Number of false accepts of each pair of classes that has some.
    class_pairs_there : int
        Number of pairs of classes that are compared.
    errors : (int, int)
        Number of false accepts and of false rejects.
    """
    metric = run.settings.metric
    falling = np.sort(accepted)[::-1]
    leading = min(_LEADING, len(falling))
    return Facts(
        opis_version=opis_cli.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        source_sha256=run.report.source.sha256,
        metric=metric,
        threshold=as_known(threshold, metric),
        top=asked.top,
        per_class_pair=asked.per_class_pair,
        of_class=asked.of_class,
        false_accepts=errors[0],
        false_rejects=errors[1],
        concentration=class_pairs.concentration(accepted, class_pairs_there),
        leading=leading,
        leading_share=float(falling[:leading].sum()) / errors[0] if leading else None,
    )


def _facts(run: Evaluation, found: tables.Found, asked: Asked, threshold: float) -> Facts:
    """Compute the figures, all but those of "what if"."""
    seen = found.seen
    accepted = seen.confused.accepted
    joined, groups = found.chains, found.chains.groups
    in_groups = int(groups.rows.sum())
    return dataclasses.replace(
        facts_of_errors(
            run,
            asked,
            threshold,
            accepted,
            class_pairs.all_class_pairs(seen.plan, seen.codes),
            _errors(run.counts, threshold)
            or (int(accepted.sum()), int(seen.inside.rejected.sum())),
        ),
        suspect_labels=int(np.count_nonzero(found.suspect == "label")),
        outliers=int(np.count_nonzero(found.suspect == "outlier")),
        merges=len(found.to_merge),
        splits=len(np.unique(found.parts.codes[found.parts.split])),
        conflicts=_conflicts(found),
        chains=ChainFacts(
            threshold=as_known(joined.threshold, run.settings.metric),
            groups=len(groups.first),
            mixed=int(np.count_nonzero(groups.classes > 1)),
            largest_rows=int(groups.rows.max(initial=0)),
            largest_classes=int(groups.classes[0]) if len(groups.first) else 0,
            purity=float((groups.purity * groups.rows).sum() / in_groups) if in_groups else None,
            articulation_rows=None if joined.articulation is None else len(joined.articulation),
        ),
    )


def _errors(counts: PairCounts, threshold: float) -> tuple[int, int] | None:
    """Return the false accepts and false rejects of the run, or None if none were counted there.

    The look at all pairs multiplies other blocks than the count. So its own numbers may differ by
    pairs within a rounding of the threshold.
    """
    place = _place_of(counts, threshold)
    if place is None:
        return None
    rejected = counts.genuine_total - int(counts.pooled_genuine[place])
    return int(counts.pooled_impostor[place]), rejected


def _conflicts(found: tables.Found) -> Conflicts:
    """Name the groups of equal rows with different labels."""
    first, groups = found.copies
    embeddings, order = found.embeddings, found.seen.plan.rows.order
    mixed = groups.first[groups.classes > 1]
    named = []
    for group in np.sort(mixed)[:_NAMED].tolist():
        rows = np.sort(order[first == group])[:_NAMED]
        named.append(
            ConflictingRows(
                tuple(embeddings.rows[rows].tolist()),
                tuple(embeddings.class_names[embeddings.labels[rows]].tolist()),
            )
        )
    return Conflicts(
        copies=len(groups.first),
        conflicts=len(mixed),
        rows=int(groups.rows[groups.classes > 1].sum()),
        first=tuple(named),
    )
