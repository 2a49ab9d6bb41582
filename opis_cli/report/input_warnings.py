"""Warnings about data that hardly mean what they say, told by the counts."""

import numpy as np

from opis_cli.records import Embeddings, InputWarning, PairCounts
from opis_cli.scoring.pooled import equal_error
from opis_cli.settings import Settings
from opis_cli.statistics.noise import OpisCorrected
from opis_cli.text import first_of, plain, rate

_NOISE = ("-1", "nan", "none", "null", "na", "n/a", "unknown", "unk", "noise")
"""Labels, in lower case, that stand for no class in files that people have."""
_TRUTHS = ("true", "false", "0", "1", "yes", "no", "same", "different")
_DOMINATES, _FEWEST_CLASSES = 0.5, 3
"""Share of the genuine pairs of one class that is told, and classes that it takes to tell it."""
_MANY_ROWS = 1_000


def input_warnings(
    counts: PairCounts, settings: Settings, noise: OpisCorrected | None
) -> tuple[InputWarning, ...]:
    """Return what to doubt about the data, in no order of weight.

    Parameters
    ----------
    counts : PairCounts
    settings : Settings
    noise : OpisCorrected, optional
        OPIS without the noise of small classes.
    """
    found = []
    if settings.group_column is None and not settings.pairs:
        found += [*_noise(counts), *_one_class(counts), *_truths(counts)]
    if settings.gallery is not None:
        found += _queries_in_gallery(counts)
    if counts.unscored is None and equal_error(counts).rate > 0.5:
        found.append(
            InputWarning(
                "wrong_direction",
                "Impostor pairs are closer than genuine ones (EER above 50 %): the labels do not "
                "follow from these vectors, or the scores run the other way.",
            )
        )
    if noise is not None and noise.noise_share is not None and noise.noise_share > 1:
        found.append(
            InputWarning(
                "opis_is_noise",
                "All of OPIS is noise of small classes: it shows no difference of the classes.",
            )
        )
    return tuple(found)


def _noise(counts: PairCounts) -> list[InputWarning]:
    """Warn of labels that stand for no class, if several rows share one."""
    names = counts.class_names.tolist()
    marked = [
        k for k, name in enumerate(names) if str(name).lower() in _NOISE and counts.sizes[k] > 1
    ]
    shares = counts.genuine_pairs / max(counts.genuine_total, 1)
    return [
        InputWarning(
            "noise_label",
            f"The label {plain(names[k])} is a class of {int(counts.sizes[k]):,} rows with "
            f"{rate(float(shares[k]))} of the genuine pairs. Such a label often marks rows without "
            f"a class: --ignore-label {names[k]} leaves them out, and --ignore-label "
            f"{names[k]}:impostor keeps them as impostors.",
            classes=(names[k],),
        )
        for k in marked
    ]


def _one_class(counts: PairCounts) -> list[InputWarning]:
    """Warn of a class that makes up most of the pooled FRR."""
    shares = counts.genuine_pairs / max(counts.genuine_total, 1)
    largest = int(np.argmax(shares)) if len(shares) else 0
    few = int(np.count_nonzero(counts.evaluable)) < _FEWEST_CLASSES
    if few or shares[largest] <= _DOMINATES:
        return []
    name = counts.class_names.tolist()[largest]
    text = (
        f"Class {plain(name)} has {rate(float(shares[largest]))} of the genuine pairs, so the "
        "pooled FRR is mostly its own. The class mean of the FRR weighs classes equally."
    )
    return [InputWarning("one_class_dominates", text, classes=(name,))]


def _truths(counts: PairCounts) -> list[InputWarning]:
    """Warn of labels that look like the truths of pairs."""
    names = counts.class_names.tolist()
    if len(names) != 2 or counts.rows < _MANY_ROWS:
        return []
    if not all(str(name).lower() in _TRUTHS for name in names):
        return []
    text = (
        f"The only labels of {counts.rows:,} rows are {plain(names[0])} and {plain(names[1])}. If "
        "they say whether a pair matches, each row is a pair: see --pairs."
    )
    return [InputWarning("boolean_labels", text, classes=tuple(names))]


def label_conflicts(counts: PairCounts, embeddings: Embeddings) -> list[InputWarning]:
    """Warn of equal rows with different labels, and name the first pairs of them."""
    if counts.conflicts is None or not len(counts.conflicts):
        return []
    named = counts.conflicts[:PAIRS_NAMED]
    queries = len(embeddings.rows) - (embeddings.gallery_rows or 0)
    behind = 0 if embeddings.gallery_rows is None else queries
    names = embeddings.class_names[embeddings.labels].tolist()
    places = np.column_stack(
        [
            np.searchsorted(embeddings.rows[:queries], named[:, 0]),
            behind + np.searchsorted(embeddings.rows[behind:], named[:, 1]),
        ]
    )
    labels = [names[place] for place in places.ravel()]
    one, two = ("rows", "") if embeddings.gallery_rows is None else ("query", "gallery row ")
    pairs = [
        f"{one} {a} (class {plain(labels[2 * k])}) and {two}{b} (class {plain(labels[2 * k + 1])}) "
        "are equal"
        for k, (a, b) in enumerate(named.tolist())
    ]
    total = int(counts.pooled_impostor[0])
    more = f", and so are {total - len(named):,} more pairs" if total > len(named) else ""
    text = (
        f"Equal rows have different labels (pairs at distance 0: {total:,}): {', '.join(pairs)}"
        f"{more}. One of the two labels is wrong, or the label does not follow from the vector."
    )
    return [
        InputWarning(
            "label_conflict", text, classes=tuple(labels), rows=tuple(named.ravel().tolist())
        )
    ]


def _queries_in_gallery(counts: PairCounts) -> list[InputWarning]:
    """Warn of queries that equal a gallery row."""
    equal = counts.duplicates
    if equal is None or not len(equal):
        return []
    rows = tuple(equal[:ROWS_NAMED].tolist())
    named = first_of(rows, len(equal))
    text = (
        f"Queries that equal a gallery row: {len(equal):,} (numbers {named}). A query that finds "
        "itself flatters a model: leave it out, or its pair with --exclude-same COLUMN."
    )
    return [InputWarning("overlap_with_gallery", text, rows=rows)]


ROWS_NAMED = 10
"""Most row numbers that the report gives of rows that equal others."""
PAIRS_NAMED = 5
"""Most pairs of equal rows with different labels that a warning names."""
