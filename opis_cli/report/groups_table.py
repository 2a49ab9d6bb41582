"""Tables of groups, and of pairs of groups: NIST's matrix of FARs, a row for each of its cells."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from opis_cli.counting.calibration import is_supported
from opis_cli.errors import RunError, SettingsError
from opis_cli.records import GroupPairs
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.threshold_file import read_threshold
from opis_cli.scoring.by_group import ByGroup, accepted_at, names_of
from opis_cli.text import as_known, on_scale

if TYPE_CHECKING:
    import pandas as pd


def groups_table(run: Evaluation) -> "pd.DataFrame":
    """Return a row for each group: see ``Run.groups``."""
    import pandas as pd

    found, metric = groups_of(run), run.settings.metric
    table = pd.DataFrame([dataclasses.asdict(one) for one in found.groups])
    own = table["threshold"].to_numpy(np.float64, na_value=np.nan)
    return table.assign(threshold=as_known(own, metric)).rename(columns={"name": "group"})


def group_pairs_table(run: Evaluation, threshold: float | str | None = None) -> "pd.DataFrame":
    """Return a row for each pair of groups: see ``Run.group_pairs``."""
    import pandas as pd

    pairs, settings = pairs_of(run), run.settings
    if threshold is None:
        at, max_far = groups_of(run).threshold, groups_of(run).max_far
    else:
        at = read_threshold(str(threshold), settings.metric)
        max_far = run.report.groups.max_far if run.report.groups else settings.bounds[0] or 0.01
    if run.counts.grid.column_of(at) is None:
        raise SettingsError(
            f"there are no counts by group at {on_scale(at, settings.metric)}; evaluate again with "
            "--threshold at that value"
        )
    names = np.array(names_of(pairs), object)
    genuine, impostor = accepted_at(pairs, np.full(len(pairs.one), at))
    rejected = pairs.genuine_pairs - genuine
    far, frr = np.full((2, len(pairs.one)), np.nan)
    np.divide(impostor, pairs.impostor_pairs, out=far, where=pairs.impostor_pairs > 0)
    np.divide(rejected, pairs.genuine_pairs, out=frr, where=pairs.genuine_pairs > 0)
    return pd.DataFrame(
        {
            "group_a": names[pairs.one],
            "group_b": names[pairs.two],
            "genuine_pairs": pairs.genuine_pairs,
            "impostor_pairs": pairs.impostor_pairs,
            "far": far,
            "frr": frr,
            "supported": [is_supported(max_far, int(number)) for number in pairs.impostor_pairs],
        }
    )


def pairs_of(run: Evaluation) -> GroupPairs:
    """Return the counts by pair of groups.

    Raises
    ------
    RunError
        The run has none.
    """
    pairs = run.counts.group_pairs
    if pairs is not None:
        return pairs
    if run.settings.group_column is None:
        raise RunError("this run has no groups; evaluate the source with --group-column=COLUMN")
    if run.settings.gallery is not None:
        why = "the rows of its gallery have no group"
        raise RunError(f"this run has no counts by pair of groups: {why}; add the column to them")
    raise RunError(
        "this run is of an older opis, without counts by pair of groups; evaluate its source again"
    )


def groups_of(run: Evaluation) -> ByGroup:
    """Return the groups at the global threshold, and at thresholds of their own.

    Raises
    ------
    RunError
        The run has none.
    """
    pairs_of(run)
    if run.report.groups is None:
        raise RunError(
            "this run has no threshold to judge groups at: none meets the bound on the FAR; "
            "evaluate the source with a larger --max-far"
        )
    return run.report.groups
