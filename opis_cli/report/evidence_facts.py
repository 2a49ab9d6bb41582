"""The figures of the evidence: errors, concentration, suspects, conflicts and chains."""

import dataclasses
from datetime import UTC, datetime

import numpy as np

import opis_cli
from opis_cli.counting.rows import Rows
from opis_cli.evidence import class_pairs
from opis_cli.records import Ints, PairCounts
from opis_cli.report.asked import Asked
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import ChainFacts, ConflictingRows, Conflicts, Facts
from opis_cli.report.evidence_tables import Found
from opis_cli.text import as_known

_LEADING = 10
"""Class pairs whose share of the false accepts is told."""
_NAMED = 20
"""Most groups of equal rows that are named in the figures."""


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


def facts_of(run: Evaluation, found: Found, asked: Asked, threshold: float) -> Facts:
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
    place = place_of(counts, threshold)
    if place is None:
        return None
    rejected = counts.genuine_total - int(counts.pooled_genuine[place])
    return int(counts.pooled_impostor[place]), rejected


def _conflicts(found: Found) -> Conflicts:
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


def place_of(counts: PairCounts, threshold: float) -> int | None:
    """Return the index of a threshold of the grid, or None if it is none."""
    place = counts.grid.index_at(threshold)
    return place if counts.grid.thresholds[place] == threshold else None


def cut_of(rows: Rows, counts: PairCounts, threshold: float) -> np.float32:
    """Return the least score that a threshold accepts: that of the count, if it was counted."""
    place = place_of(counts, threshold)
    if place is None:
        return np.float32(rows.cuts(np.array([threshold]))[0])
    return np.float32(rows.cuts_of(counts.grid)[place])
