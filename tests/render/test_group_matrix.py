"""The matrix of FARs by pair of groups: what its cells say, and when there is none."""

import dataclasses
import itertools

import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

import opis_cli as opis
from opis_cli.errors import OpisError, RunError
from opis_cli.records import GroupPairs
from opis_cli.render.pictures import save_figure
from opis_cli.render.sheet import FACTS

HOSTILE = ["$\\frac{", "a\u202eb", "x" * 300]


@pytest.fixture(scope="module")
def run():
    """Three groups with hostile names. Pairs of the last two have their FARs from a table."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(30), 4)
    vectors = rng.normal(size=(30, 16))[labels] + 0.5 * rng.normal(size=(120, 16))
    found = opis.evaluate(
        vectors,
        labels,
        columns={"who": np.array(HOSTILE, object)[labels % 3]},
        group_column="who",
        max_far=0.01,
    )
    at = found.counts.grid.class_thresholds
    accepted = np.array([5, 50, 200, 1_800, 0, 0])
    pairs = GroupPairs(
        names=found.counts.group_pairs.names,
        others=0,
        thresholds=at,
        one=np.array([0, 0, 0, 1, 1, 2]),
        two=np.array([0, 1, 2, 1, 2, 2]),
        genuine=np.zeros((6, len(at)), np.int64),
        impostor=np.repeat(accepted[:, None], len(at), axis=1),
        genuine_pairs=np.zeros(6, np.int64),
        impostor_pairs=np.array([10_000, 5_000, 10_000, 2_000, 299, 300]),
    )
    return dataclasses.replace(found, counts=dataclasses.replace(found.counts, group_pairs=pairs))


def cells_of(figure):
    """The panel of the cells, their numbers by place, and the level of each coloured cell."""
    panel = figure.axes[0]
    texts = {(int(t.get_position()[1]), int(t.get_position()[0])): t for t in panel.texts}
    (cells,) = (one for one in panel.collections if isinstance(one, PatchCollection))
    places = [tuple(path.vertices[0][::-1].astype(int)) for path in cells.get_paths()]
    return texts, dict(zip(places, cells.get_array().tolist(), strict=True)), cells


def test_cells_say_the_far_and_on_which_side_of_the_bound_it_lies(run):
    figure = run.plot("group-matrix")
    texts, levels, cells = cells_of(figure)
    shown = {place: text.get_text() for place, text in texts.items()}
    own = {(0, 0): "0.05", (0, 1): "1.0", (0, 2): "2.0", (1, 1): "90", (1, 2): "0", (2, 2): "0"}
    assert shown == own | {place[::-1]: text for place, text in own.items()}
    assert {place for place, text in texts.items() if text.get_weight() == "bold"} == {
        (0, 2),
        (2, 0),
        (1, 1),
    }
    # 299 impostor pairs are too few for a bound of 1 %, and 300 are enough.
    assert set(levels) == set(own) - {(1, 2)} | {(1, 0), (2, 0)}
    assert levels[0, 1] == pytest.approx(0) and levels[0, 2] == pytest.approx(np.log10(2))
    hatched = [one for one in figure.axes[0].patches if isinstance(one, Rectangle)]
    assert sorted(one.get_xy() for one in hatched if one.get_hatch()) == [(1, 2), (2, 1)]
    # At the bound a cell is blue, and above it is orange.
    at, above = (cells.to_rgba(level) for level in (-1e-9, 0.01))
    assert at[2] > at[0] and above[0] > above[2]
    (facts,) = (t.get_text() for t in figure.axes[-1].texts if t.get_gid() == FACTS)
    assert "2 of 5 above 1 %" in facts and "hatched: under 300 impostor pairs" in facts


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_names_are_no_formulas(run, suffix, tmp_path):
    figure = run.plot("group-matrix", width="84mm", title="of a $paper$")
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["$\\frac{", "a\ufffdb", "x" * 15 + "…"]
    save_figure(figure, tmp_path / f"matrix.{suffix}")
    assert figure.get_size_inches()[0] == pytest.approx(84 / 25.4)


def test_many_groups_have_no_numbers_and_all_names(run):
    number = 45
    one, two = np.triu_indices(number)
    pairs = dataclasses.replace(
        run.counts.group_pairs,
        names=np.array([f"group {k}" for k in range(number - 1)], object),
        others=12,
        one=one,
        two=two,
        genuine=np.zeros((len(one), len(run.counts.group_pairs.thresholds)), np.int64),
        impostor=np.ones((len(one), len(run.counts.group_pairs.thresholds)), np.int64),
        genuine_pairs=np.zeros(len(one), np.int64),
        impostor_pairs=np.full(len(one), 1_000),
    )
    many = dataclasses.replace(run, counts=dataclasses.replace(run.counts, group_pairs=pairs))
    figure = many.plot("group-matrix")
    names = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert names[0] == "group 0" and names[-1] == "12 other groups" and len(names) == number
    assert not figure.axes[0].texts
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert all(above.y0 >= below.y1 - 1 for above, below in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0


def test_when_there_is_no_matrix(run, cli):
    vectors, labels = np.random.default_rng(0).normal(size=(60, 8)), np.arange(60) % 12
    plain = opis.evaluate(vectors, labels, max_far=0.1, calibration="far:0.05..0.2")
    with pytest.raises(RunError, match="no groups"):
        plain.plot("group-matrix")
    with pytest.raises(OpisError, match="makes its own figure"):
        run.plot("group-matrix", ax=run.plot().axes[0])
    done = cli("plot", "nothing.parquet", "--kind", "group-matrices")
    assert done.returncode == 2 and "group-matrix" in done.stderr
