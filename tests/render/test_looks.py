"""Pictures fit a column, a slide and a user's own axes; their text is text, in any script."""

import re
import warnings

import data
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

import opis_cli as opis
from opis_cli.errors import SettingsError
from opis_cli.render import class_points, fonts
from opis_cli.render.class_curves import MOST_LINES
from opis_cli.render.fonts import BOX
from opis_cli.render.labels import name_points
from opis_cli.render.pictures import save_figure
from opis_cli.render.plots import FROM_EVIDENCE, FROM_GROUPS, KINDS, draw
from opis_cli.render.sheet import FACTS, Look, look_of

DRAWN = [kind for kind in KINDS if kind not in (*FROM_EVIDENCE, *FROM_GROUPS)]


@pytest.fixture(scope="module")
def ten():
    """A run of ten classes with names."""
    vectors, labels = data.blobs(400, 10, spread=1.0)
    return opis.evaluate(vectors, np.array([f"speaker {i}" for i in range(10)], object)[labels])


@pytest.fixture(scope="module")
def many():
    """A run of more classes than lines are drawn for, of two or three rows."""
    rows = MOST_LINES * 3
    vectors, _ = data.blobs(rows, 30)
    return opis.evaluate(vectors, np.arange(rows) % (MOST_LINES + 50))


def names(axes):
    """The names of classes that stand on a panel."""
    return [
        text.get_text()
        for text in axes.texts
        if isinstance(text, Annotation) and text.get_gid() != FACTS
    ]


def test_a_dozen_classes_are_all_named_and_of_more_the_worst(ten, small, many):
    table = ten.classes().sort_values("mean_utility")
    for kind in ("utility", "classes"):
        assert sorted(names(draw(ten, kind).axes[0])) == sorted(table["class"])
    for run, least in ((small, 3), (many, 5)):
        ranked = run.classes().dropna(subset="mean_utility").sort_values("mean_utility")
        named = names(draw(run).axes[0])
        assert least <= len(named) <= 5
        worst = ranked["mean_utility"].iloc[len(named) - 1]
        shown = ranked[ranked["class"].astype(str).isin(named)]
        assert len(shown) == len(named) and (shown["mean_utility"] <= worst).all()


def test_names_keep_clear_of_one_another_and_inside_their_panel(ten):
    for kind in ("utility", "classes"):
        figure = draw(ten, kind)
        figure.draw_without_rendering()
        axes = figure.axes[0]
        panel = axes.get_window_extent()
        boxes = [Text.get_window_extent(text) for text in axes.texts if text.get_gid() != FACTS]
        assert len(boxes) == 10
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert all(panel.containsx(b.x0) and panel.containsx(b.x1) for b in boxes)


def test_a_name_stands_beside_its_curve_and_clear_of_the_data():
    axes = Figure().subplots()
    x = np.linspace(0, 1, 50)
    axes.plot(x, x)
    name_points(axes, [(x, x)], ["diagonal"], (x, x), colors=["black"], size=8)
    (text,) = axes.texts
    assert text.xy[0] == text.xy[1]
    line = axes.transData.transform(np.column_stack([x, x]))
    box = text.get_window_extent()
    assert not any(box.contains(*point) for point in line)
    apart = np.hypot(*(line - [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]).T).min()
    assert apart < box.width + 3 * box.height


def test_very_many_classes_are_bands_that_hold_their_share(many):
    axes = draw(many).axes[0]
    lines = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert sum(len(c.get_segments()) for c in lines) == len(names(axes))
    labels = [str(c.get_label()) for c in axes.collections]
    assert {"98 % of the classes", "80 % of the classes", "50 % of the classes"} <= set(labels)


def test_where_points_would_hide_one_another_cells_count_the_classes(many, ten, monkeypatch):
    def cells(run):
        return [c for c in draw(run, "classes").axes[0].collections if isinstance(c, QuadMesh)]

    assert not cells(ten)
    (mesh,) = cells(many)
    assert mesh.get_array().sum() == len(many.consistency.classes)
    monkeypatch.setattr(class_points, "_MOST_POINTS", 5)
    assert cells(ten)[0].get_array().sum() == 10


@pytest.mark.parametrize("kind", DRAWN)
def test_a_picture_has_the_width_the_title_and_the_text_asked_for(ten, kind):
    figure = ten.plot(kind, width="84mm", title="of a $paper$", font_size=6)
    assert figure.get_size_inches()[0] == pytest.approx(84 / 25.4)
    title = figure.axes[0]._left_title
    assert title.get_text() == "of a $paper$" and not title.get_parse_math()
    sizes = {round(text.get_fontsize(), 1) for text in figure.findobj(match=_is_shown)}
    assert max(sizes) == 6 and min(sizes) >= 4
    plain = ten.plot(kind)
    assert plain.axes[0]._left_title.get_text() == "arrays"


def _is_shown(artist):
    return hasattr(artist, "get_fontsize") and bool(getattr(artist, "get_text", str)())


def test_a_slide_is_wide_and_a_column_has_its_legend_below(ten):
    width, height = draw(ten, look=Look(13)).get_size_inches()
    assert height / width == pytest.approx(7.5 / 13)
    column = draw(ten, look=Look(3.3))
    assert column.legends and not column.axes[0].get_legend()
    column.draw_without_rendering()
    assert column.legends[0].get_window_extent().y1 < column.axes[-1].get_window_extent().y0


def test_points_grow_with_the_text(ten):
    looks = Look(13), Look(3.3)
    slide, column = (draw(ten, "classes", look=one).axes[0].collections[-1] for one in looks)
    text = looks[0].points / looks[1].points
    assert text > 1.5 and slide.get_sizes() == pytest.approx(text**2 * column.get_sizes())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"width": "wide"}, "'wide' is no width of a picture; write it as 3.3in"),
        ({"width": "0.1in"}, "between 2 in and 40 in"),
        ({"width": 1e9}, "between 2 in and 40 in"),
        ({"font_size": 0}, "font size"),
    ],
)
def test_sizes_out_of_range_are_refused(given, says):
    with pytest.raises(SettingsError, match=says):
        look_of(**({"width": None, "title": None, "font_size": None} | given))


def test_axes_of_the_user_are_drawn_into(ten):
    figure = Figure(figsize=(8, 8))
    grid = figure.subplots(2, 2)
    for axes, kind in zip(grid.ravel(), ("det", "roc", "histogram", "classes"), strict=True):
        assert ten.plot(kind, ax=axes) is figure
        assert axes.lines or axes.collections
    pair = Figure().subplots(2)
    assert ten.plot("rates", ax=pair) is pair[0].figure and pair[1].lines
    for kind in ("utility", "calibration"):
        one = Figure().subplots()
        assert len(ten.plot(kind, ax=one).axes) == 1 and one.lines
    with pytest.raises(SettingsError, match="2 panels, and ax has 1; give a tuple of 2"):
        ten.plot("rates", ax=one)
    with pytest.raises(SettingsError, match="leave out ax"):
        ten.plot("confusion", ax=one)


def test_pdf_has_whole_fonts_and_no_pixels_and_svg_has_its_text(ten, many, tmp_path):
    for name, run in (("ten", ten), ("many", many)):
        for kind in ("utility", "classes"):
            figure = draw(run, kind)
            save_figure(figure, tmp_path / f"{name}.pdf")
            pdf = (tmp_path / f"{name}.pdf").read_bytes()
            assert b"/FontFile2" in pdf and b"/Type3" not in pdf
            # The shades of a colour bar are no data.
            assert kind == "classes" or b"/Subtype /Image" not in pdf
    ten.plot().savefig(tmp_path / "own.svg")
    svg = (tmp_path / "own.svg").read_text()
    assert re.search(r"<text[^>]*>speaker 3</text>", svg) and "<image" not in svg


@pytest.fixture
def scripts():
    """A run whose classes have names that matplotlib's own font lacks."""
    vectors, labels = data.blobs(120, 3)
    return opis.evaluate(vectors, np.array(["漢字", "plain", "Ωμέγα"], object)[labels])


def test_a_script_without_a_font_has_boxes_and_one_warning(scripts, monkeypatch):
    monkeypatch.setattr(fonts, "_fallbacks", lambda: iter(()))
    with pytest.warns(UserWarning, match="no font here has 2 of the characters") as told:
        figure = draw(scripts)
    assert len(told) == 1 and sorted(names(figure.axes[0])) == ["plain", "Ωμέγα", BOX * 2]


@pytest.mark.parametrize("truetype", [True, False])
def test_a_script_is_drawn_where_a_font_is_there(truetype, scripts, monkeypatch, tmp_path):
    file = tmp_path / ("two.ttf" if truetype else "two.otf")
    _write_font(file, "漢字", truetype)
    known = list(font_manager.fontManager.ttflist)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", known)
    font_manager.fontManager.addfont(file)
    monkeypatch.setattr(fonts, "_fallbacks", lambda: iter([("Two Glyphs", str(file))]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw(scripts)
        save_figure(figure, tmp_path / "picture.pdf")
    assert sorted(names(figure.axes[0])) == ["plain", "Ωμέγα", "漢字"]
    (text,) = [text for text in figure.axes[0].texts if text.get_text() == "漢字"]
    assert "Two Glyphs" in text.get_fontfamily()
    pdf = (tmp_path / "picture.pdf").read_bytes()
    # matplotlib shows nothing of a font of another kind that it embeds as TrueType.
    assert b"TwoGlyphs" in pdf and (b"/Type3" in pdf) != truetype


def _write_font(file, characters, truetype):
    """Write a font with a square for each of some characters."""
    glyphs = [".notdef", *(f"g{i}" for i in range(len(characters)))]
    pen = TTGlyphPen(None) if truetype else T2CharStringPen(800, None)
    for i, place in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
        (pen.lineTo if i else pen.moveTo)(place)
    pen.closePath()
    font = FontBuilder(1000, isTTF=truetype)
    font.setupGlyphOrder(glyphs)
    font.setupCharacterMap({ord(char): glyphs[i] for i, char in enumerate(characters, 1)})
    if truetype:
        font.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    else:
        shapes = dict.fromkeys(glyphs, pen.getCharString())
        font.setupCFF("TwoGlyphs-Regular", {}, shapes, {})
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (800, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable(
        {"familyName": "Two Glyphs", "styleName": "Regular", "psName": "TwoGlyphs-Regular"}
    )
    font.setupOS2()
    font.setupPost()
    font.save(file)


def test_the_command_has_these_looks_and_warns_on_one_line(scripts, cli, tmp_path):
    scripts.save(tmp_path / "run") if _has_cjk() else _quietly(scripts, tmp_path / "run")
    words = ("--width", "3.3in", "--title", "Of a paper", "--font-size", "6", "-o", "p.svg")
    done = cli("plot", "run", *words)
    assert done.returncode == 0 and "Of a paper" in (tmp_path / "p.svg").read_text()
    assert 'width="237.6pt"' in (tmp_path / "p.svg").read_text()
    if not _has_cjk():
        assert done.stderr.startswith("opis: no font here has 2 of the characters")
        assert done.stderr.count("\n") == 1


def _has_cjk():
    return any({"漢", "字"} <= fonts._characters(path) for _, path in fonts._fallbacks())


def _quietly(run, folder):
    with pytest.warns(UserWarning, match="no font"):
        run.save(folder)
