"""Parts: equal, whole, killed, doubled, merged in any order, and refused where they do not fit."""

import dataclasses
import json
import zipfile
from pathlib import Path

import data
import numpy as np
import pandas as pd
import pytest
from protocols import PROTOCOLS, files_of, rows_of

from opis_cli.counting import grid, pilot
from opis_cli.counting.counts_file import save_counts
from opis_cli.counting.part_files import PlanFile
from opis_cli.counting.parts import Part
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.sizes import Sizes
from opis_cli.counting.tally import Tile
from opis_cli.errors import InputError, RunError, SettingsError
from opis_cli.in_parts import count_part, make_plan, merge_parts
from opis_cli.pipeline import evaluate_file
from opis_cli.report.report_json import to_dict
from opis_cli.settings import Settings

SMALL = Sizes(tile_side=20)
PARTS = 5
MORE = PROTOCOLS | {
    "groups of many classes": {"group_column": "camera"},
    "groups within tenants, excluded": {
        "group_column": "camera",
        "within_column": "tenant",
        "exclude_same": "camera",
    },
    "groups, and a gallery": {"group_column": "tenant", "gallery": "<arrays>"},
    "a deployed threshold": {"threshold": "0.4", "max_far": 0.05},
    "numba": {"engine": "numba"},
    "a sample of classes": {"max_pairs": 6_000},
}


def same_report(run, other) -> None:
    one, two = (to_dict(found.report) for found in (run, other))
    for key in set(one) - {"created", "timings", "counts_sha256"}:
        assert one[key] == two[key], key


def same_counts(run, other, folder: Path) -> None:
    for number, one in enumerate((run, other)):
        save_counts(one.counts, folder / f"{number}.npz")
    assert (folder / "0.npz").read_bytes() == (folder / "1.npz").read_bytes()


@pytest.mark.parametrize("protocol", MORE)
def test_parts_merged_in_any_order_are_one_count(protocol, tmp_path):
    source, settings = files_of(Settings(**MORE[protocol]), tmp_path)
    make_plan([str(source)], settings, sizes=SMALL).write(tmp_path / "plan.json")
    plan = PlanFile.read(tmp_path / "plan.json")
    files = [tmp_path / f"part-{number}.npz" for number in range(1, PARTS + 1)]
    order = np.random.default_rng(len(protocol)).permutation(PARTS)
    pairs = [count_part(source, plan, number + 1, PARTS, files[number]) for number in order]
    assert sum(pairs) == plan.pairs and min(pairs) > 0
    doubled = [*(files[number] for number in order[::-1]), files[0]]
    merged = merge_parts(doubled, tmp_path / "run", sizes=SMALL)
    whole = evaluate_file(source, settings, sizes=SMALL)
    same_report(merged, whole)
    same_counts(merged, whole, tmp_path)


@pytest.mark.parametrize("protocol", MORE)
@pytest.mark.parametrize("count", [1, 3, 40])
def test_parts_have_the_tiles_of_the_whole_once(protocol, count):
    settings = Settings(**MORE[protocol])
    whole = Part.whole(plan_pairs(rows_of(settings), settings), 20)
    parts = whole.divided(count)
    for number in range(len(whole.tiles)):
        of_parts = [tile for part in parts for tile in part.of_pass(number)]
        assert sorted(map(dataclasses.astuple, of_parts)) == sorted(
            map(dataclasses.astuple, whole.of_pass(number))
        )


@pytest.mark.parametrize("rows", [6_000, 60_000, 5_000_000])
@pytest.mark.parametrize("count", [7, 64])
def test_parts_are_equal(rows, count):
    """Few tiles are dealt, and each begins where a tile of the engine does."""
    whole = Part(((Tile(0, rows, 0, rows),),), 50)
    parts = whole.divided(count)
    pairs = np.array([part.pairs for part in parts])
    assert pairs.sum() == whole.pairs
    assert pairs.max() / pairs.min() < 1.02
    tiles = [tile for part in parts for tile in part.tiles[0]]
    assert len(tiles) < 1_000 * count
    assert all(tile.a % 50 == 0 and tile.c % 50 == 0 for tile in tiles)


def test_a_large_tenant_is_shared_out():
    blocks = tuple(Tile(a, b, a, b) for a, b in ((0, 4_000), (4_000, 4_100), (4_100, 5_000)))
    pairs = [part.pairs for part in Part((blocks,), 20).divided(9)]
    assert max(pairs) / min(pairs) < 1.02


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A folder with a source, a plan and its three parts; tests leave them alone."""
    folder = tmp_path_factory.mktemp("parts")
    vectors, labels = data.blobs(700, 12)
    table = pd.DataFrame({"embedding": list(vectors), "label": labels})
    table.to_parquet(folder / "rows.parquet")
    make_plan(folder / "rows.parquet", Settings(max_far=0.02), sizes=Sizes(tile_side=128)).write(
        folder / "plan.json"
    )
    plan = PlanFile.read(folder / "plan.json")
    for number in (1, 2, 3):
        count_part(folder / "rows.parquet", plan, number, 3, folder / f"part-{number}.npz")
    return folder


def parts_in(folder: Path) -> list[Path]:
    return [folder / f"part-{number}.npz" for number in (1, 2, 3)]


def test_a_killed_part_leaves_nothing_and_is_counted_again(counted, tmp_path):
    plan, calls = PlanFile.read(counted / "plan.json"), []

    def killed_later(done, total):
        calls.append(done)
        if len(calls) == 3:
            raise Killed

    file = tmp_path / "part-2.npz"
    with pytest.raises(Killed):
        count_part(counted / "rows.parquet", plan, 2, 3, file, progress=killed_later)
    assert list(tmp_path.iterdir()) == []
    assert count_part(counted / "rows.parquet", plan, 2, 3, file) > calls[-1]
    assert file.read_bytes() == (counted / "part-2.npz").read_bytes()


def test_a_part_that_is_there_is_not_counted_again(counted, tmp_path):
    plan, part = PlanFile.read(counted / "plan.json"), counted / "part-2.npz"
    before = part.read_bytes()
    # Not even the source is read.
    assert count_part(tmp_path / "nowhere.parquet", plan, 2, 3, part) is None
    assert part.read_bytes() == before


@pytest.mark.parametrize(
    ("number", "of", "changed", "told"),
    [
        (1, 3, {}, "has part 2 of 3; choose another file"),
        (2, 4, {}, "has part 2 of 3; choose another file"),
        (2, 3, {"attempt": 2}, "has part 2 of 3 of another plan; choose"),
    ],
)
def test_a_file_with_another_part_is_not_replaced(number, of, changed, told, counted):
    plan = dataclasses.replace(PlanFile.read(counted / "plan.json"), **changed)
    with pytest.raises(RunError, match=told):
        count_part(counted / "rows.parquet", plan, number, of, counted / "part-2.npz")


def test_a_damaged_part_is_not_taken_for_whole(counted, tmp_path):
    plan, file = PlanFile.read(counted / "plan.json"), tmp_path / "part-2.npz"
    whole = (counted / "part-2.npz").read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:middle] + b"?" + whole[middle + 1 :], b""):
        file.write_bytes(damaged)
        with pytest.raises(RunError, match="or a damaged one; delete it and count it again"):
            count_part(counted / "rows.parquet", plan, 2, 3, file)
        with pytest.raises(RunError, match=r"part-2\.npz: no part of a count, or a damaged one"):
            merge_parts([counted / "part-1.npz", file, counted / "part-3.npz"], tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([1, 2], "part 3 of 3 is missing; count it with .* --part 3/3"),
        ([2], "parts 1 and 3 of 3 are missing; count them with .* --part 1/3"),
        ([3, 3, 3], "parts 1 to 2 of 3 are missing"),
    ],
)
def test_missing_parts_are_named(given, told, counted, tmp_path):
    files = [counted / f"part-{number}.npz" for number in given]
    with pytest.raises(RunError, match=told):
        merge_parts(files, tmp_path / "run")


def test_parts_of_two_plans_or_divisions_are_not_added(counted, tmp_path):
    source, one = counted / "rows.parquet", PlanFile.read(counted / "plan.json")
    other = make_plan(source, Settings(max_far=0.03), sizes=Sizes(tile_side=128))
    count_part(source, other, 3, 3, tmp_path / "other.npz")
    count_part(source, one, 3, 4, tmp_path / "of-4.npz")
    for name, told in (("other.npz", "of another plan"), ("of-4.npz", "one of 4 parts")):
        with pytest.raises(RunError, match=rf"{name}: .*{told}"):
            merge_parts([*parts_in(counted)[:2], tmp_path / name], tmp_path / "run")


def test_another_source_is_refused(counted, tmp_path):
    plan, other = PlanFile.read(counted / "plan.json"), tmp_path / "rows.parquet"
    pd.read_parquet(counted / "rows.parquet").iloc[::-1].to_parquet(other)
    with pytest.raises(InputError, match="not the rows of the plan"):
        count_part(other, plan, 1, 3, tmp_path / "part.npz")
    with pytest.raises(InputError, match="not the rows of the plan"):
        merge_parts(parts_in(counted), tmp_path / "run", source=other)


def test_another_threshold_file_is_refused(counted, tmp_path):
    rule = {"version": 1, "metric": "cosine", "rule": "distance <= threshold", "threshold": 0.3}
    (tmp_path / "threshold.json").write_text(json.dumps(rule))
    asked = Settings(threshold=str(tmp_path / "threshold.json"))
    plan = make_plan(counted / "rows.parquet", asked)
    (tmp_path / "threshold.json").write_text(json.dumps(rule | {"threshold": 0.4}))
    with pytest.raises(InputError, match="or a file that the plan's settings name"):
        count_part(counted / "rows.parquet", plan, 1, 3, tmp_path / "part.npz")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"opis_version": "9.9\x1b[31m"}, r"planned by opis 9\.9\S*, and this is"),
        ({"opis_plan": 2}, "no plan, or a damaged one"),
        ({"side": 0}, "no plan"),
        ({"thresholds": [0.2, 0.1]}, "no plan"),
        ({"by_class": [[0]]}, "no plan"),
        ({"settings": {"metric": "nonsense"}}, "no plan"),
        ({"settings": {"no_such": 1}}, "no plan"),
    ],
)
def test_a_plan_that_is_none_is_refused(changed, told, counted, tmp_path):
    facts = json.loads((counted / "plan.json").read_text()) | changed
    (tmp_path / "plan.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match=told) as error:
        PlanFile.read(tmp_path / "plan.json")
    assert "\x1b" not in str(error.value)
    for text in (b"\xff", b"[" * 5_000, b"3"):
        (tmp_path / "plan.json").write_bytes(text)
        with pytest.raises(RunError, match="no plan"):
            PlanFile.read(tmp_path / "plan.json")


def rewritten(part: Path, file: Path, name: str, values) -> None:
    """Copy a part, with other values of one array."""
    with zipfile.ZipFile(part) as old, zipfile.ZipFile(file, "w") as new:
        for member in old.namelist():
            if member.rpartition(".")[0] != name:
                new.writestr(member, old.read(member))
        with new.open(f"{name}.npy", "w") as stream:
            np.lib.format.write_array(stream, values, allow_pickle=True)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("nearest_genuine", np.zeros(3, np.float32)),
        ("nearest_genuine", np.zeros(700, np.float64)),
        ("pooled_impostor", np.zeros(5_000, np.int64)),
        ("plan", np.array([print], object)),
        ("nearest_impostor", np.array([print] * 700, object)),
        ("number", np.array(4)),
    ],
)
def test_a_part_of_other_shapes_or_with_objects_is_refused(name, values, counted, tmp_path):
    rewritten(counted / "part-2.npz", tmp_path / "part-2.npz", name, values)
    with pytest.raises(RunError, match=r"part-2\.npz: .*damaged"):
        merge_parts(
            [counted / "part-1.npz", tmp_path / "part-2.npz", counted / "part-3.npz"],
            tmp_path / "run",
        )


def test_counts_of_another_part_under_its_number_are_noticed(counted, tmp_path):
    """Else pairs would count twice, and others not at all."""
    rewritten(counted / "part-2.npz", tmp_path / "part-3.npz", "number", np.array(3))
    with pytest.raises(RunError, match=r"part-3\.npz: damaged"):
        merge_parts([*parts_in(counted)[:2], tmp_path / "part-3.npz"], tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pairs": True}, "not counted in parts"),
        ({"engine": "dask"}, "on a cluster by itself"),
        ({"checkpoint": "folder"}, "a part is what a count goes on from"),
    ],
)
def test_settings_that_do_not_go_with_parts(settings, told, counted):
    with pytest.raises(SettingsError, match=told):
        make_plan(counted / "rows.parquet", Settings(**settings))


def test_a_grid_that_does_not_serve_gives_the_next_plan(tmp_path, monkeypatch):
    """A pilot that saw only pairs far too near puts the window where the range is not."""
    vectors, labels = data.blobs(700, 20, seed=12)
    pd.DataFrame({"embedding": list(vectors), "label": labels}).to_parquet(tmp_path / "x.parquet")
    source, sizes = tmp_path / "x.parquet", Sizes(1_000, 300, tile_side=128)
    true_pilot = pilot.run_pilot

    def wrong_pilot(plan, needs, seed, sizes):
        seen = true_pilot(plan, needs, seed, sizes)
        squeezed = grid.Distribution(seen.impostor.distances * 0.2, seen.impostor.accepted)
        return grid.Pilot(seen.genuine, squeezed, exact=False)

    monkeypatch.setattr(pilot, "run_pilot", wrong_pilot)
    plan, grids = make_plan(source, Settings(), sizes=sizes), 0
    while True:
        grids += 1
        files = [tmp_path / f"{grids}-{number}.npz" for number in (1, 2)]
        for number, file in enumerate(files, 1):
            count_part(source, plan, number, 2, file)
        try:
            merged = merge_parts(files, tmp_path / "run", sizes=sizes)
            break
        except RunError as error:
            assert "run.plan.json is the next plan" in str(error)
        plan = PlanFile.read(tmp_path / "run.plan.json")
        assert plan.attempt == grids + 1
    assert 1 < grids <= 4
    whole = evaluate_file(source, Settings(), sizes=sizes)
    same_report(merged, whole)
    same_counts(merged, whole, tmp_path)
