"""The tables of the evidence: pairs, class pairs, rows and groups of rows, by their names."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.evidence.chains import Chains, Groups, Parts
from opis_cli.evidence.class_pairs import pairs_between
from opis_cli.evidence.exact import distances_of
from opis_cli.evidence.hardest import Hardest
from opis_cli.evidence.seen import Seen
from opis_cli.records import Embeddings, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

Doubles = NDArray[np.float64]
_EXACT = 1 << 18
"""Most class pairs whose least distance is computed in float64."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, in numbers of rows and codes of classes.

    Rows are numbered as in ``Plan.rows``, but those of ``accepts`` and ``rejects`` as in the
    embeddings.

    Attributes
    ----------
    embeddings : Embeddings
    seen : Seen
    accepts, rejects : Hardest
    own, others : tuple (distances, rows), each of shape (N,)
        Nearest row of the same class and of others; -1 at distance inf where there is none.
    score : ndarray of shape (N,), float64
    suspect : ndarray of shape (N,), objects
    to_merge : ndarray of shape (M, 2), int64
    chains : Chains
    copies : tuple (first, groups)
        As ``chains.copies`` returns them.
    parts : Parts
    """

    embeddings: Embeddings
    seen: Seen
    accepts: Hardest
    rejects: Hardest
    own: tuple[Doubles, Ints]
    others: tuple[Doubles, Ints]
    score: Floats
    suspect: NDArray[Any]
    to_merge: Ints
    chains: Chains
    copies: tuple[Ints, Groups]
    parts: Parts


def pairs_table(found: Found, show_columns: tuple[str, ...] = ()) -> "pd.DataFrame":
    """Return the hardest pairs, with the shown columns of both rows."""
    import pandas as pd

    embeddings = found.embeddings
    one = np.concatenate([found.accepts.one, found.rejects.one])
    two = np.concatenate([found.accepts.two, found.rejects.two])
    kinds = ["false_accept"] * len(found.accepts.one) + ["false_reject"] * len(found.rejects.one)
    table = pd.DataFrame(
        {
            "kind": pd.array(kinds, "object"),
            "row_a": embeddings.rows[one],
            "row_b": embeddings.rows[two],
            "class_a": embeddings.class_names[embeddings.labels[one]],
            "class_b": embeddings.class_names[embeddings.labels[two]],
            "distance": np.concatenate([found.accepts.distances, found.rejects.distances]),
        }
    )
    for name in show_columns:
        for side, rows in (("a", one), ("b", two)):
            table[f"{name}_{side}"] = values_of(embeddings, name, rows)
    return table


def values_of(embeddings: Embeddings, name: str, rows: Ints) -> "pd.api.extensions.ExtensionArray":
    """Return the values of a column as text; null where a row has none."""
    import pandas as pd

    column = embeddings.columns[name]
    codes = column.codes[rows]
    texts = [str(column.names[code]) if code >= 0 else None for code in codes.tolist()]
    return pd.array(texts, "object")


def class_pairs_table(found: Found) -> "pd.DataFrame":
    """Return the confused classes, and those that may be one. Most false accepts come first."""
    import pandas as pd

    seen, confused = found.seen, found.seen.confused
    classes, keys = seen.classes, confused.keys
    merging = found.to_merge[:, 0] * classes + found.to_merge[:, 1]
    # The keys are sorted, so this is much faster than a union.
    further = merging[~_are_in(keys, merging)]
    every = np.sort(np.concatenate([keys, further]), kind="stable")
    one, two = every // classes, every % classes
    accepted, best = np.zeros(len(every), np.int64), np.full(len(every), np.nan)
    place = np.searchsorted(every, keys)
    accepted[place] = confused.accepted
    rows = seen.plan.rows
    best[place] = rows.distance(confused.best)
    # Float32 cannot tell small distances, so those of the worst class pairs are computed anew.
    worst = np.argsort(-confused.accepted, kind="stable")[:_EXACT]
    ends = confused.left[worst], confused.right[worst]
    best[place[worst]] = distances_of(found.embeddings, rows, *ends)
    suggestion = np.full(len(every), None, object)
    suggestion[np.searchsorted(every, merging)] = "merge"
    names = found.embeddings.class_names
    order = np.argsort(-accepted, kind="stable")
    return pd.DataFrame(
        {
            "class_a": names[one[order]],
            "class_b": names[two[order]],
            "accepted": accepted[order],
            "pairs": pairs_between(seen.plan, seen.codes, one[order], two[order]),
            "least_distance": best[order],
            "suggestion": suggestion[order],
        }
    )


def _are_in(ordered: Ints, wanted: Ints) -> NDArray[np.bool_]:
    """Return which wanted numbers are among sorted numbers."""
    if not len(ordered):
        return np.zeros(len(wanted), np.bool_)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.asarray(ordered[place] == wanted)


def rows_table(found: Found, show_columns: tuple[str, ...] = ()) -> "pd.DataFrame":
    """Return a row for each row, in the order of the source, with the shown columns."""
    import pandas as pd

    embeddings, seen = found.embeddings, found.seen
    place = np.argsort(seen.plan.rows.order)
    names = embeddings.class_names

    def numbers(rows: Ints) -> "pd.api.extensions.ExtensionArray":
        known = rows >= 0
        source = embeddings.rows[seen.plan.rows.order[rows]]
        return pd.arrays.IntegerArray(np.where(known, source, 0).astype(np.int64), ~known)

    def distances(values: Doubles) -> Doubles:
        return np.where(np.isfinite(values), values, np.nan)

    own, others = ((values[place], rows[place]) for values, rows in (found.own, found.others))
    chain_of = np.full(len(place), -1)
    groups = found.chains.groups
    chain_of[groups.first] = np.arange(len(groups.first))
    chain = chain_of[found.chains.first][place]
    other_class = names[seen.codes[others[1]]].astype(object)
    other_class[others[1] < 0] = None
    table = pd.DataFrame(
        {
            "row": embeddings.rows,
            "class": names[embeddings.labels],
            "own_distance": distances(own[0]),
            "own_row": numbers(own[1]),
            "other_distance": distances(others[0]),
            "other_row": numbers(others[1]),
            "other_class": other_class,
            "suspect": found.suspect[place],
            "score": found.score[place],
            "chain": pd.arrays.IntegerArray(np.maximum(chain, 0).astype(np.int64), chain < 0),
        }
    )
    for name in show_columns:
        table[name] = values_of(embeddings, name, np.arange(len(table)))
    if embeddings.gallery_rows is not None:
        table["gallery"] = np.arange(len(table)) >= len(table) - embeddings.gallery_rows
    return table


def components_table(found: Found) -> "pd.DataFrame":
    """Return chains, parts of classes and groups of equal rows, each kind largest first."""
    import pandas as pd

    names, parts = found.embeddings.class_names, found.parts
    tables = []
    for kind, groups in (("chain", found.chains.groups), ("copies", found.copies[1])):
        tables.append(
            pd.DataFrame(
                {
                    "kind": kind,
                    "component": np.arange(len(groups.first)),
                    "rows": groups.rows,
                    "classes": groups.classes,
                    "class": names[groups.largest].astype(object),
                    "purity": groups.purity,
                    "suggestion": np.full(len(groups.first), None, object),
                }
            )
        )
    number = np.arange(len(parts.first)) - np.searchsorted(parts.codes, parts.codes)
    suggestion = np.full(len(parts.first), None, object)
    suggestion[parts.split] = "split"
    tables.append(
        pd.DataFrame(
            {
                "kind": "part",
                "component": number,
                "rows": parts.rows,
                "classes": 1,
                "class": names[parts.codes].astype(object),
                "purity": 1.0,
                "suggestion": suggestion,
            }
        )
    )
    return pd.concat(tables, ignore_index=True)
