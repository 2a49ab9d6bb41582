"""Which decisions change between two models, from the rows of both: counts and tables."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opis_cli.counting.memory import refuse_memory
from opis_cli.counting.plan import Plan, plan_pairs
from opis_cli.embeddings.matching import matched
from opis_cli.errors import SettingsError
from opis_cli.evidence.exact import distances_of, rounded
from opis_cli.evidence.flips import (
    BOTH,
    GENUINE,
    IMPOSTOR,
    KINDS,
    NEW_ONLY,
    OLD_ONLY,
    Flips,
    Kind,
    Side,
    decider,
    look_at_both,
    memory_of,
    place_of,
)
from opis_cli.machine import processors
from opis_cli.records import Embeddings, Ints
from opis_cli.report.asked import PER_CLASS_PAIR, TOP, Progress, advancing
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence_facts import cut_of
from opis_cli.report.evidence_tables import values_of
from opis_cli.settings import Settings
from opis_cli.text import as_known

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Compared:
    """The decisions of two models on the same rows.

    Attributes
    ----------
    old, new : Embeddings
        The rows of both, in the order of those of the old model.
    plans : (Plan, Plan)
        Plans of the same pairs of ``old`` and of ``new``.
    flips : Flips
    """

    old: Embeddings
    new: Embeddings
    plans: tuple[Plan, Plan]
    flips: Flips


def columns_of(settings: Settings) -> tuple[str, ...]:
    """Return the columns that decide which rows of a run are pairs."""
    return tuple(filter(None, (settings.within_column, settings.exclude_same)))


def compare_decisions(
    runs: tuple[Evaluation, Evaluation],
    rows: tuple[Embeddings, Embeddings],
    thresholds: tuple[float, float],
    *,
    top: int = TOP,
    per_class_pair: int = PER_CLASS_PAIR,
    progress: Progress = lambda done, total: None,
) -> Compared:
    """Look at all pairs of the rows of an old and of a new model.

    Parameters
    ----------
    runs : (Evaluation, Evaluation)
    rows : (Embeddings, Embeddings)
        Rows that ``match_rows`` returned.
    thresholds : (float, float)
        The thresholds of both, as distances.
    top, per_class_pair : int
        Most pairs of a kind to list, and most of one pair of classes.
    progress : callable
        Called with (pairs looked at, pairs in all).

    Raises
    ------
    SettingsError
        The look needs more memory than the limit.
    """
    old, new = rows
    settings = runs[1].settings
    threads = settings.threads or processors()
    refuse_memory(new, settings, memory_of(len(old.labels), old.dim, threads))
    one, two = (
        plan_pairs(side, _pairing(runs[0].settings, run.settings), threads)
        for run, side in zip(runs, rows, strict=True)
    )
    before, after = (
        Side(plan, cut_of(plan.rows, run.counts, threshold))
        for plan, run, threshold in zip((one, two), runs, thresholds, strict=True)
    )
    flips = look_at_both(
        before,
        after,
        old.labels[one.rows.order],
        len(old.class_names),
        top=top,
        per_class_pair=per_class_pair,
        threads=threads,
        advance=advancing(progress, one.pairs),
    )
    return Compared(old, new, (one, two), flips)


def match_rows(
    runs: tuple[Evaluation, Evaluation],
    rows: tuple[Embeddings, Embeddings],
    id_column: str | None = None,
) -> tuple[Embeddings, Embeddings]:
    """Return the rows of both models, those of the new one in the order of the old one.

    Raises
    ------
    SettingsError
        Only one of the two runs leaves out some pairs.
    InputError
        The rows, their labels or the columns that decide on pairs are not the same.
    """
    one, two = (run.settings for run in runs)
    for name in ("within_column", "exclude_same"):
        if (getattr(one, name) is None) != (getattr(two, name) is None):
            option = name.replace("_", "-")
            raise SettingsError(
                f"only one of the two runs has --{option}, so their pairs are not the same; "
                "evaluate both with it, or both without it"
            )
    alike = list(zip(columns_of(one), columns_of(two), strict=True))
    return rows[0], matched(*rows, id_column, alike)


def _pairing(old: Settings, own: Settings) -> Settings:
    """Return the settings that decide which rows are pairs, with a run's own metric.

    Groups and folds change the order of the rows, and no pair.
    """
    return dataclasses.replace(
        Settings(within_column=old.within_column, exclude_same=old.exclude_same), metric=own.metric
    )


def flips_table(
    found: Compared, metrics: tuple[str, str], show_columns: tuple[str, ...] = ()
) -> "pd.DataFrame":
    """Return the hardest of the pairs whose decision changes, with shown columns of both rows.

    Pairs of a kind are hardest where the model that is wrong about them is most wrong: impostor
    pairs closest first, genuine pairs farthest first.
    """
    import pandas as pd

    embeddings = found.old
    parts = {kind: _sorted(found, kind) for kind in KINDS}
    kinds = [kind for kind, (pairs, _) in parts.items() for _ in range(pairs.shape[1])]
    one, two = np.concatenate([pairs for pairs, _ in parts.values()], axis=1)
    distances = np.concatenate([both for _, both in parts.values()], axis=1)
    table = pd.DataFrame(
        {
            "kind": pd.array(kinds, "object"),
            "row_a": embeddings.rows[one],
            "row_b": embeddings.rows[two],
            "class_a": embeddings.class_names[embeddings.labels[one]],
            "class_b": embeddings.class_names[embeddings.labels[two]],
            "old_distance": as_known(distances[0], metrics[0]),
            "new_distance": as_known(distances[1], metrics[1]),
        }
    )
    for name in show_columns:
        for side, rows in (("a", one), ("b", two)):
            table[f"{name}_{side}"] = values_of(embeddings, name, rows)
    return table


def _sorted(found: Compared, kind: Kind) -> tuple[Ints, Any]:
    """Return the pairs of a kind as rows of the embeddings, and their distances by both models.

    Both have the shape (2, P).
    """
    places, order = found.flips.hardest[kind], found.plans[0].rows.order
    sides = zip((found.old, found.new), found.plans, strict=True)
    distances = [distances_of(rows, plan.rows, *places) for rows, plan in sides]
    pairs = np.sort(order[places], axis=0)
    number = decider(kind, 0, 1)
    key = rounded(distances[number], found.plans[number].rows)
    place = np.lexsort((pairs[1], pairs[0], key if kind.startswith("impostors") else -key))
    return pairs[:, place], np.stack(distances)[:, place]


def classes_table(found: Compared) -> "pd.DataFrame":
    """Return a row for each class, with its rates by both models and the decisions that change.

    Classes with most losses come first. A rate is null if the class has no such pairs.
    """
    import pandas as pd

    plan, by_class = found.plans[0], found.flips.by_class
    names = found.old.class_names
    codes = found.old.labels[plan.rows.order][: plan.queries]
    sizes = np.bincount(codes, minlength=len(names))
    genuine, impostor = (
        np.bincount(codes, weights=pairs, minlength=len(names)).astype(np.int64)
        for pairs in (plan.genuine, plan.impostor)
    )
    genuine //= plan.ends
    table = pd.DataFrame(
        {"class": names, "size": sizes, "genuine_pairs": genuine, "impostor_pairs": impostor}
    )
    for kind in KINDS:
        table[kind] = by_class[place_of(kind)]
    for model, state in (("old", OLD_ONLY), ("new", NEW_ONLY)):
        far = by_class[IMPOSTOR, [state, BOTH]].sum(axis=0)
        frr = genuine - by_class[GENUINE, [state, BOTH]].sum(axis=0)
        table[f"{model}_far"] = _share(far, impostor)
        table[f"{model}_frr"] = _share(frr, genuine)
    # Classes of the gallery alone have no pairs of their own.
    table = table[table["size"] > 0]
    losses = table["genuine_lost"] + table["impostors_let_in"]
    place = np.argsort(-losses.to_numpy(), kind="stable")
    return table.iloc[place].reset_index(drop=True)


def _share(part: Ints, whole: Ints) -> Any:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
