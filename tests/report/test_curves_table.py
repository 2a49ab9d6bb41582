"""Curves as tables: what is in them, and what is refused."""

import numpy as np
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli.report.curves_table import curves_table
from opis_cli.scoring import curves
from opis_cli.statistics.jackknife import spread


def test_a_row_a_threshold_with_intervals(small):
    table, counts = curves_table(small), small.counts
    classes, columns = small.consistency.classes, curves.all_columns(small.counts)
    assert np.array_equal(table["threshold"], counts.grid.class_thresholds)
    assert np.array_equal(table["far"], counts.pooled_far[counts.grid.by_class])
    assert np.array_equal(table["frr"], counts.pooled_frr[counts.grid.by_class])
    low, high = spread(counts, "frr", columns).limits()
    assert np.array_equal(table["frr_low"], low) and np.array_equal(table["frr_high"], high)
    assert np.all((table["far_low"] <= table["far"]) & (table["far"] <= table["far_high"]))
    expected = curves.class_frr(counts, classes, columns).mean(axis=0)
    assert np.allclose(table["class_mean_frr"], expected)
    expected = curves.class_far(counts, classes, columns).mean(axis=0)
    assert np.allclose(table["class_mean_far"], expected)
    assert table["accepted_impostors"].iloc[-1] == counts.impostor_total
    assert table["rejected_genuine"].iloc[-1] == 0


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export_writes_it(suffix, small, saved, cli, tmp_path):
    file = tmp_path / f"new/curves.{suffix}"
    done = cli("export", saved, "--curves", file)
    assert done.returncode == 0 and str(file) in done.stdout
    read = pd.read_csv if suffix == "csv" else pd.read_parquet
    pd.testing.assert_frame_equal(read(file), curves_table(small))


def test_other_suffixes_are_refused(saved, cli, tmp_path):
    done = cli("export", saved, "--curves", tmp_path / "curves.xlsx")
    assert done.returncode == 2 and ".parquet or .csv" in done.stderr
    assert cli("export", saved).returncode == 2
    assert not (tmp_path / "curves.xlsx").exists()


def test_thresholds_of_scores_are_scores(tmp_path):
    scores = np.array([1, 3, 3, 5, 2, 4, 6, 6, 8, 9])
    genuine = np.arange(10) >= 5
    table = pd.DataFrame({"score": scores, "genuine": genuine})
    table.to_csv(tmp_path / "p.csv", index=False)
    run = opis.evaluate(tmp_path / "p.csv", pairs=True, higher_is_closer=True)
    table = curves_table(run).set_index("threshold")
    assert table.index.is_monotonic_decreasing
    for at, row in table.iterrows():
        assert row["accepted_impostors"] == np.count_nonzero(scores[~genuine] >= at)
        assert row["rejected_genuine"] == np.count_nonzero(scores[genuine] < at)
