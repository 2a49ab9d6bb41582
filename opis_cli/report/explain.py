"""Explain a run: find the pairs, the classes and the rows behind its rates at a threshold."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from opis_cli.counting.memory import refuse_memory
from opis_cli.counting.plan import plan_pairs
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
from opis_cli.report.asked import Asked, Progress, advancing, code_among, code_of, threshold_of
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import Evidence, Outcome, WhatIf
from opis_cli.report.evidence_facts import cut_of, facts_of
from opis_cli.report.source import check_columns
from opis_cli.scoring.opis import consistency_of
from opis_cli.scoring.recommend import Recommendation
from opis_cli.settings import Metric, Settings
from opis_cli.statistics.confidence import recommended
from opis_cli.text import as_known, plain

MOST_MERGED = 0.1
"""Largest share of the impostor pairs that "what if" turns into genuine ones. Classes that overlap
more are no class twice."""


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
    if settings.metric == "dot":
        raise SettingsError(
            "evidence needs distances, and this run is of inner products; evaluate with "
            "--metric=cosine or --metric=euclidean and explain that run"
        )
    if asked.id_column is not None:
        raise SettingsError(
            "--id-column is for scored pairs; to see the ids of these rows, give --show-columns "
            f"{plain(asked.id_column)}"
        )
    group = settings.group_column
    show_columns = tuple(dict.fromkeys(([] if group is None else [group]) + [*asked.show_columns]))
    check_columns("--show-columns", show_columns, embeddings.columns)
    threads = settings.threads or processors()
    refuse_memory(embeddings, settings, memory_of(len(embeddings.labels), threads))
    plan = plan_pairs(embeddings, settings, threads)
    threshold = threshold_of(run, asked.threshold)
    of_group = None if group is None else code_among(plan.names, asked.of_class)
    of_class = code_of(embeddings.class_names, asked.of_class) if of_group is None else None
    index = chains.chain_index(counts)
    cut = cut_of(plan.rows, counts, threshold)
    codes = embeddings.labels[plan.rows.order]
    seen = scan(
        plan,
        codes,
        cut,
        plan.rows.cuts_of(counts.grid)[index],
        engine=settings.engine,
        threads=threads,
        advance=advancing(progress, plan.pairs),
        memory_limit=settings.memory_limit_bytes,
    )
    found = _found(embeddings, seen, asked, of_class, of_group, threads)
    labels = np.sort(plan.rows.order[found.suspect == "label"])
    counted = Counted(embeddings, settings, plan, counts)
    facts = facts_of(run, found, asked, threshold)
    changed = _what_if(run, counted, labels, found.to_merge, threshold, threads)
    group = None if of_group is None else group
    facts = dataclasses.replace(facts, what_if=changed, group_column=group)
    return Evidence(
        facts=facts,
        pairs=tables.pairs_table(found, show_columns),
        class_pairs=tables.class_pairs_table(found),
        rows=tables.rows_table(found, show_columns),
        components=tables.components_table(found),
    )


def _found(
    embeddings: Embeddings,
    seen: Seen,
    asked: Asked,
    of_class: int | None,
    of_group: int | None,
    threads: int,
) -> tables.Found:
    """Find everything in what the look at all pairs kept."""
    plan = seen.plan
    with ThreadPoolExecutor(1) as pool:
        # The longest of these tasks, and nothing else waits for it.
        judging = pool.submit(lambda: find_suspects(neighbours(seen)))
        if threads == 1:
            judging.result()
        accepts, rejects = _hardest_pairs(embeddings, seen, asked, of_class, of_group)
        own = first_of_lists(embeddings, plan, seen.own, genuine=True)
        others = first_of_lists(embeddings, plan, seen.others, genuine=False)
        to_merge = merges.to_merge(seen)
        chained, copies, parts = chains.chains(seen), chains.copies(seen), chains.parts(seen)
        judged = judging.result()
    suspect = np.full(len(seen.codes), None, object)
    suspect[judged.label], suspect[judged.outlier] = "label", "outlier"
    return tables.Found(
        embeddings=embeddings,
        seen=seen,
        accepts=accepts,
        rejects=rejects,
        own=own,
        others=others,
        score=judged.score,
        suspect=suspect,
        to_merge=to_merge,
        chains=chained,
        copies=copies,
        parts=parts,
    )


def _hardest_pairs(
    embeddings: Embeddings, seen: Seen, asked: Asked, of_class: int | None, of_group: int | None
) -> tuple[Hardest, Hardest]:
    """Return the closest false accepts and the farthest false rejects that are asked for."""
    limits = asked.top, asked.per_class_pair
    if of_group is not None:
        mine = np.flatnonzero(seen.plan.keys == of_group)
        return (
            hardest.errors_of_rows(embeddings, seen, mine, *limits, closest=True),
            hardest.errors_of_rows(embeddings, seen, mine, *limits, closest=False),
        )
    return (
        hardest.false_accepts(embeddings, seen, *limits, of_class),
        hardest.false_rejects(embeddings, seen, *limits, of_class),
    )


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
    grid = run.counts.grid
    place = grid.index_at(threshold)
    without, merged, both = (
        None if counts is None else _outcome(counts, settings, place) for counts in changed
    )
    now = _outcome_of(
        run.counts, place, run.report.opis, run.report.recommendation, settings.metric
    )
    return WhatIf(
        now, without, merged, both, as_known(float(grid.thresholds[place]), settings.metric)
    )


def _outcome(counts: PairCounts, settings: Settings, place: int) -> Outcome:
    """Compute the figures of counts, with the rates at the threshold of an index."""
    opis, chosen = None, None
    try:
        consistency = consistency_of(
            counts, settings.calibration_range, settings.beta, settings.eps
        )
        opis = consistency.opis
        chosen = recommended(counts, consistency, settings)
    except InputError:
        pass
    return _outcome_of(counts, place, opis, chosen, settings.metric)


def _outcome_of(
    counts: PairCounts,
    place: int,
    opis: float | None,
    chosen: Recommendation | None,
    metric: Metric,
) -> Outcome:
    """Put figures into an outcome."""
    at = None if chosen is None else chosen.threshold
    return Outcome(
        far=float(counts.pooled_far[place]),
        frr=float(counts.pooled_frr[place]),
        opis=opis,
        recommended=None if at is None else as_known(at, metric),
        recommended_far=None if chosen is None else chosen.far,
        recommended_frr=None if chosen is None else chosen.frr,
    )
