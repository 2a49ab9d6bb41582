"""Run folders: whole or not at all, the same after a round trip, refused when damaged."""

import dataclasses
import errno
import json
from pathlib import Path

import data
import numpy as np
import oracle
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli import settings
from opis_cli.counting import store
from opis_cli.errors import RunError, SettingsError
from opis_cli.records import Halves, PairCounts
from opis_cli.render.pictures import save_figure
from opis_cli.report.records import SCHEMA_VERSION
from opis_cli.report.threshold_file import read_threshold, write_threshold

FILES = {"report.json", "counts.npz", "classes.parquet", "threshold.json", "utility.png"}


def test_a_loaded_run_is_the_saved_one(small, saved):
    loaded = opis.load_run(saved)
    for name in ("genuine", "impostor", "pooled_genuine", "pooled_impostor", "sizes"):
        assert np.array_equal(getattr(loaded.counts, name), getattr(small.counts, name))
    assert np.array_equal(loaded.counts.grid.thresholds, small.counts.grid.thresholds)
    assert loaded.recommend(max_far=0.001) == small.recommend(max_far=0.001)
    pd.testing.assert_frame_equal(loaded.classes(), small.classes())
    assert {file.name for file in saved.iterdir()} == FILES


def test_class_names_survive(tmp_path):
    vectors, labels = data.blobs(60, 3)
    names = np.array(["ä\n💥", " ", "x" * 3000], object)
    run = opis.evaluate(vectors, names[labels])
    run.save(tmp_path / "run")
    assert opis.load_run(tmp_path / "run").counts.class_names.tolist() == sorted(names)
    whole = opis.evaluate(vectors, labels + 2**40)
    whole.save(tmp_path / "whole")
    table = pd.read_parquet(tmp_path / "whole" / "classes.parquet")
    assert table["class"].tolist() == [2**40, 2**40 + 1, 2**40 + 2]


def test_classes_parquet_agrees_with_the_report(small, saved):
    table = pd.read_parquet(saved / "classes.parquet")
    assert list(table.columns) == [
        *("class", "size", "genuine_pairs", "impostor_pairs", "mean_utility", "opis_contribution"),
        *("recall_at_1", "far", "frr", "utility", "best_threshold"),
        *("deployed_far", "deployed_frr", "deployed_utility", "best_threshold_estimated"),
    ]
    single = table["size"] == 1
    assert single.any()
    assert table[single].iloc[:, 4:-1].isna().all(axis=None)
    assert table[~single].iloc[:, :11].notna().all(axis=None)
    assert table.iloc[:, 11:-1].isna().all(axis=None)
    assert not table["best_threshold_estimated"].any()
    chosen, report = small.report.recommendation, small.report
    assert table["opis_contribution"].mean() == pytest.approx(report.opis)
    assert table["far"].mean() == pytest.approx(chosen.class_mean_far)
    assert table["frr"].mean() == pytest.approx(chosen.class_mean_frr)
    assert table["utility"].mean() == pytest.approx(chosen.mean_utility)
    pooled = (table["frr"] * table["genuine_pairs"]).sum() / table["genuine_pairs"].sum()
    assert pooled == pytest.approx(chosen.frr)
    worst = table.set_index("class").loc[report.worst_classes[0].class_name]
    assert worst["utility"] == table["utility"].min() == report.worst_classes[0].utility


@pytest.fixture(scope="module")
def deployed():
    """A run with a deployed threshold that is far from the recommended one."""
    return opis.evaluate(*data.MADE["long_tail"], threshold=0.7)


def test_the_deployed_threshold_is_judged_whole(deployed, small, tmp_path):
    """By brute force at the deployed one, while all else stays the recommended one's."""
    vectors, labels = data.MADE["long_tail"]
    truth = oracle.rates_and_utility(vectors, labels, [0.7])
    judged = deployed.report.deployed
    assert abs(deployed.report.recommendation.threshold - 0.7) > 0.1
    deployed.save(tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run" / "classes.parquet").set_index("class")
    for name in ("far", "frr", "utility"):
        assert table[f"deployed_{name}"].to_numpy() == pytest.approx(
            getattr(truth, name)[:, 0], nan_ok=True
        )
        assert table[name].mean() == pytest.approx(small.classes()[name].mean(), abs=0.05)
    least = table["deployed_utility"].nsmallest(10)
    assert [one.utility for one in judged.worst_classes] == least.tolist()
    for one in judged.worst_classes:
        row = table.loc[one.class_name]
        assert (one.far, one.frr) == (row["deployed_far"], row["deployed_frr"])
        assert (one.size, one.mean_utility) == (row["size"], row["mean_utility"])
    # No class is as badly off at both, so that one cannot stand for the other.
    assert judged.worst_classes[0].utility != deployed.report.worst_classes[0].utility
    loaded = opis.load_run(tmp_path / "run")
    assert loaded.report.deployed == judged


def test_rates_and_classes_at_any_threshold(deployed):
    vectors, labels = data.MADE["long_tail"]
    at = deployed.rates(0.7)
    assert at.exact and (at.far, at.frr) == (
        deployed.report.deployed.far,
        deployed.report.deployed.frr,
    )
    assert at.mean_utility == pytest.approx(deployed.report.deployed.mean_utility)
    thresholds = deployed.counts.grid.class_thresholds
    between = float(thresholds[300:302].mean())
    at, table = deployed.rates(between), deployed.classes(threshold=between)
    truth = oracle.rates_and_utility(vectors, labels, [between])
    assert not at.exact and at.frr_at < between < at.far_at
    assert at.far >= truth.pooled_far[0] and at.frr >= truth.pooled_frr[0]
    assert table.attrs["far_at"] == at.far_at and table.attrs["class_frr_at"] == at.class_frr_at
    assert table["far"].mean() == pytest.approx(at.class_mean_far)
    known = table["far"].notna()
    assert np.all(table["far"][known] >= truth.far[known, 0] - 1e-12)
    assert np.all(table["frr"][known] >= truth.frr[known, 0] - 1e-12)
    exact = deployed.classes(threshold=0.7)
    assert exact["far"].equals(exact["deployed_far"])
    assert deployed.classes().attrs == {}
    for wrong in (-0.1, 2.1, float("nan")):
        with pytest.raises(SettingsError):
            deployed.rates(wrong)


def test_threshold_json_is_there_only_where_one_is_recommended(small, saved, tmp_path):
    content = json.loads((saved / "threshold.json").read_text())
    assert content["threshold"] == small.report.recommendation.threshold
    assert content["accept"] == "distance <= threshold"
    assert content["source_sha256"] == small.report.source.sha256
    infeasible = opis.evaluate(*data.MADE["blobs"], max_far=1e-3, max_frr=1e-3)
    infeasible.save(tmp_path / "none")
    assert {file.name for file in (tmp_path / "none").iterdir()} == FILES - {"threshold.json"}
    with pytest.raises(RunError, match="no threshold"):
        write_threshold(infeasible.report, infeasible.report, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_nothing_but_a_run_is_ever_replaced(small, saved, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(RunError, match="not a run"):
            small.save(other, force=force)
    assert (other / "thesis.tex").read_text() == "years of work"
    with pytest.raises(RunError, match="not a run"):
        small.save(other / "thesis.tex", force=True)
    with pytest.raises(RunError, match="give force=True to replace it"):
        small.save(saved)
    (saved / "classes.parquet").write_text("damaged")
    small.save(saved, force=True)
    assert {file.name for file in saved.iterdir()} == FILES
    assert len(pd.read_parquet(saved / "classes.parquet")) == len(small.counts.sizes)
    assert {file.name for file in tmp_path.iterdir()} == {"other", "run"}


def test_what_is_not_a_runs_stays(small, saved):
    (saved / "notes.md").write_text("why this model")
    (saved / "figures").mkdir()
    (saved / "figures" / "one.svg").write_text("<svg/>")
    (saved / "link").symlink_to("notes.md")
    small.save(saved, force=True)
    assert {file.name for file in saved.iterdir()} == FILES | {"notes.md", "figures", "link"}
    assert (saved / "notes.md").read_text() == "why this model"
    assert (saved / "figures" / "one.svg").read_text() == "<svg/>"
    assert (saved / "link").is_symlink()


def test_a_threshold_file_does_not_outlive_its_threshold(saved):
    infeasible = opis.evaluate(*data.MADE["blobs"], max_far=1e-3, max_frr=1e-3)
    infeasible.save(saved, force=True)
    assert {file.name for file in saved.iterdir()} == FILES - {"threshold.json"}


def test_behind_a_link_the_run_is_what_changes(small, saved, tmp_path):
    (tmp_path / "link").symlink_to(saved)
    small.save(tmp_path / "link", force=True)
    assert (tmp_path / "link").is_symlink()
    assert {file.name for file in saved.iterdir()} == FILES


def test_a_folder_with_somebody_elses_report_is_not_a_run(small, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "report.json").write_text('{"title": "Annual report"}')
    with pytest.raises(RunError, match="not a run"):
        small.save(other, force=True)
    assert (other / "report.json").read_text() == '{"title": "Annual report"}'


def test_a_file_never_replaces_a_folder(small, tmp_path):
    for name in ("threshold.json", "plot.png"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="Is a directory"):
        write_threshold(small.report, small.report, tmp_path / "threshold.json")
    with pytest.raises(RunError, match="Is a directory"):
        save_figure(small.plot(), tmp_path / "plot.png")
    assert len(list(tmp_path.rglob("thesis.tex"))) == 2


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_nothing_behind_and_the_old_run_whole(
    small, tmp_path, monkeypatch, there
):
    target = tmp_path / "run"
    if there:
        small.save(target)
    before = {file: file.read_bytes() for file in target.glob("*")}

    def full(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RunError, match="No space left on device"):
        small.save(target, force=True)
    assert {file: file.read_bytes() for file in target.glob("*")} == before
    assert [file.name for file in tmp_path.iterdir()] == ["run"] * there
    with pytest.raises(RunError, match="No space left on device"):
        small.save(tmp_path / "new" / "parents" / "run")
    assert not (tmp_path / "new").exists()


def test_a_place_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        small.save(tmp_path / "file" / "run")


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def pickled(file: Path) -> None:
    np.savez(file, **store.read(file) | {"sizes": np.array([print], object)}, allow_pickle=True)


def array_shortened(name):
    def damage(file: Path) -> None:
        arrays = store.read(file)
        with file.open("wb") as stream:
            store.write(stream, arrays | {name: arrays[name][:-1]})

    return damage


def of_text(name):
    def damage(file: Path) -> None:
        arrays = store.read(file)
        np.savez(file, **arrays | {name: arrays[name].astype(str)})

    return damage


def no_archive(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.arange(3))


DAMAGES = [truncated, emptied, pickled, no_archive, Path.unlink]
SHORT = (
    *("thresholds", "by_class", "genuine", "pooled_impostor", "nearest_hits", "sizes"),
    *("class_names", "searches", "halves_genuine", "split_impostor"),
)
TEXT = (
    "genuine",
    "pooled_genuine",
    "sizes",
    "nearest_hits",
    "thresholds",
    "duplicates",
    "split_genuine",
)


@pytest.mark.parametrize("damage", [*DAMAGES, *map(array_shortened, SHORT), *map(of_text, TEXT)])
def test_damaged_counts_are_refused(damage, saved):
    damage(saved / "counts.npz")
    with pytest.raises(RunError, match=r"damaged|cannot be read"):
        opis.load_run(saved)


def test_report_and_counts_of_different_runs_are_refused(saved, tmp_path):
    # Of the same rows and classes, so that only their content tells them apart.
    vectors, labels = data.MADE["long_tail"]
    opis.evaluate(vectors + 0.5, labels).save(tmp_path / "two")
    (saved / "counts.npz").write_bytes((tmp_path / "two" / "counts.npz").read_bytes())
    with pytest.raises(RunError, match="not of one run"):
        opis.load_run(saved)


def test_deployed_thresholds(saved, tmp_path):
    file = saved / "threshold.json"
    assert read_threshold("0.25", "cosine") == 0.25
    assert read_threshold("0", "cosine") == 0.0
    # On another scale it is the decimal that a person would compute, with no digit more.
    for text, metric, distance in (
        ("similarity:0.8", "cosine", 0.2),
        ("similarity:-0.25", "cosine", 1.25),
        ("l2:0.63", "cosine", 0.19845),
        ("squared-l2:0.4", "cosine", 0.2),
        ("distance:0.2", "cosine", 0.2),
        ("l2:0.63", "euclidean", 0.63),
        ("squared-l2:0.09", "euclidean", 0.3),
        ("score:0.7", "score", -0.7),
        ("score:-3", "dot", 3.0),
    ):
        assert read_threshold(text, metric) == distance
    assert read_threshold(str(file), "cosine") == json.loads(file.read_text())["threshold"]
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "true.json").write_text('{"threshold": true, "metric": "cosine"}')
    (tmp_path / "huge.json").write_text('{"threshold": 1' + "0" * 400 + ', "metric": "cosine"}')
    for text, metric, says in (
        (str(file), "euclidean", "made for the cosine metric"),
        ("-1", "cosine", "not negative"),
        ("2.5", "cosine", "between 0 and 2"),
        ("nan", "euclidean", "finite"),
        ("nowhere.json", "cosine", "neither a number, nor .* nor a file"),
        ("similarity:1.5", "cosine", "between -1 and 1"),
        ("l2:-0.1", "cosine", "at 0 or above"),
        ("l2:2.1", "cosine", "between 0 and 2"),
        ("similarity:0.8", "euclidean", "no such scale; give distance:T or l2:T or squared-l2:T"),
        ("l2:0.8", "hamming", "no such scale; give distance:T"),
        ("distance:0.8", "score", "no such scale; give score:T"),
        ("similarity:nan", "cosine", "neither a number"),
        (str(tmp_path / "list.json"), "cosine", "no threshold.json"),
        (str(tmp_path / "true.json"), "cosine", "no threshold.json"),
        (str(tmp_path / "huge.json"), "cosine", "no threshold.json"),
    ):
        with pytest.raises(SettingsError, match=says):
            read_threshold(text, metric)


def test_other_bounds_from_a_run_hold_exactly(saved):
    run = opis.load_run(saved)
    for max_far in (0.3, 0.02, 0.001):
        chosen = run.recommend(max_far=max_far)
        assert chosen.far <= max_far
        assert chosen.far == chosen.accepted_impostors / run.counts.impostor_total
    with pytest.raises(SettingsError, match="low-far"):
        run.recommend(max_far=0.1, prefer="low-far")
    assert run.recommend() == run.report.recommendation


OLD_RUNS = Path(__file__).parent / "runs"
"""A run of each schema of reports, from ``signs(48, 6, 32, seed=1)`` with the last row a class of
its own. That of schema 1 was written before counts were kept as steps."""


@pytest.fixture(params=["v1", "v2", "v3", "v4", "v5", "v6"])
def old_run(request):
    return OLD_RUNS / request.param


def test_an_old_run_gives_what_it_was_saved_with(old_run):
    run, table = opis.load_run(old_run), pd.read_parquet(old_run / "classes.parquet")
    again, report = run.classes(), run.report
    for name in ("class", "size", "genuine_pairs", "impostor_pairs", "recall_at_1", "fold"):
        pd.testing.assert_series_equal(again[name], table[name])
    assert run.consistency.opis == pytest.approx(report.opis, rel=1e-3)
    assert run.counts.halves is not None and run.counts.inside is not None
    assert int(run.counts.pooled_impostor[-1]) == report.pairs.impostor


def test_an_old_run_serves_every_command(old_run, cli, tmp_path):
    run = opis.load_run(old_run)
    chosen = run.recommend(max_far=0.02)
    assert 0 < chosen.far <= 0.02
    assert 0 < run.margins(max_far=0.02).margin_minus < 1
    done = cli("gate", old_run, "--baseline", old_run, "--max-opis-increase", "10%")
    assert (done.returncode, done.stderr) == (0, "")
    done = cli("plot", old_run, "-o", "utility.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "utility.png").read_bytes().startswith(b"\x89PNG")


def test_an_old_run_saved_again_is_the_same_and_no_larger(old_run, tmp_path):
    run = opis.load_run(old_run)
    run.save(tmp_path / "new")
    again = opis.load_run(tmp_path / "new").counts
    for name in PairCounts.__dataclass_fields__:
        one, two = getattr(run.counts, name), getattr(again, name)
        if isinstance(one, np.ndarray):
            assert one.dtype == two.dtype and np.array_equal(one, two), name
    for name in Halves.__dataclass_fields__:
        assert np.array_equal(getattr(run.counts.halves, name), getattr(again.halves, name))
    sizes = [(folder / "counts.npz").stat().st_size for folder in (old_run, tmp_path / "new")]
    assert sizes[1] < (0.6 if old_run.name == "v1" else 1.01) * sizes[0]


def without_setting(saved, name):
    raw = json.loads((saved / "report.json").read_text())
    del raw["settings"][name]
    (saved / "report.json").write_text(json.dumps(raw))


@pytest.mark.parametrize("name", ["metric", "seed", "group_column"])
def test_a_report_lacks_no_setting_of_its_schema(saved, name):
    without_setting(saved, name)
    with pytest.raises(RunError, match=f"damaged report .no setting {name}"):
        opis.load_run(saved)


def test_a_setting_of_a_newer_schema_stands_for_its_default(saved, monkeypatch):
    newer = dataclasses.replace(settings.ABOUT["eps"], since=SCHEMA_VERSION + 1)
    monkeypatch.setitem(settings.ABOUT, "eps", newer)
    without_setting(saved, "eps")
    assert opis.load_run(saved).settings.eps == 0.1


def test_every_schema_has_a_run():
    assert {folder.name for folder in OLD_RUNS.iterdir()} == {
        f"v{number}" for number in range(1, SCHEMA_VERSION + 1)
    }
