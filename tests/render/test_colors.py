"""Colours are told apart by colour-blind readers, on white, in grey, and on the page."""

import itertools
import re
from importlib import resources

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from opis_cli.render import colors

SHOWN = {
    name: getattr(colors, name)
    for name in ("FAR", "FRR", "WORST", "CHOSEN", "DEPLOYED", "GREY", "MEAN")
}
# Machado, Oliveira and Fernandes (2009), full severity, for linear RGB.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
TELLS_APART = 18
"""Difference in CIELAB at which thin lines are still of two colours; 2.3 is just noticeable."""


def linear(color):
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one, two):
    """Ratio of luminances, as in WCAG."""
    dark, light = sorted(float(TO_XYZ[1] @ linear(color)) for color in (one, two))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("pair", list(itertools.combinations(SHOWN, 2)), ids="-".join)
def test_any_two_colours_differ(pair, sight):
    one, two = (lab(SIGHTS[sight] @ linear(SHOWN[name])) for name in pair)
    assert np.linalg.norm(one - two) >= TELLS_APART


def test_the_worst_classes_stand_out_in_grey():
    assert contrast(colors.WORST, colors.GREY) >= 2


def test_lines_and_text_are_seen_on_white():
    assert contrast(colors.GREY, "white") >= 2
    for name in ("FAR", "FRR", "WORST", "CHOSEN", "DEPLOYED", "NOTE"):
        assert contrast(getattr(colors, name), "white") >= 3, name


def test_the_simulation_knows_what_colour_blind_readers_confuse():
    green, orange = "#5B8C00", "#A87A00"
    normal, blind = (
        np.linalg.norm(lab(SIGHTS[sight] @ linear(green)) - lab(SIGHTS[sight] @ linear(orange)))
        for sight in ("normal", "deuteranopia")
    )
    assert normal > 30 > TELLS_APART > blind


def test_several_runs_differ_in_their_dashes_too():
    dashes = [str(dash) for dash in colors.DASHES]
    assert len(set(dashes)) == len(colors.SERIES) == len(set(colors.SERIES))


def page_colours(scheme):
    """The colours of the page's style by name: the light ones, or the dark ones."""
    web = resources.files("opis_cli.render.page").joinpath("web")
    style = web.joinpath("page.css").read_text()
    light, dark = re.findall(r":root[^{]*\{([^}]*--back[^}]*)\}", style)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light if scheme == "light" else dark))


def test_the_page_has_the_colours_of_the_pictures():
    light = page_colours("light")
    for name in ("far", "frr", "worst"):
        assert light[name].upper() == getattr(colors, name.upper()), name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_colours_that_are_seen_and_told_apart(scheme):
    found = page_colours(scheme)
    for name in ("far", "frr", "worst", "grey", "accent"):
        assert contrast(found[name], found["back"]) >= 3, name
    for name in ("text", "dim", "far-text", "frr-text", "good", "bad", "worst"):
        assert contrast(found[name], found["back"]) >= 4.5, name
    for pair in itertools.combinations(("far", "frr", "worst", "grey"), 2):
        for sight in SIGHTS.values():
            one, two = (lab(sight @ linear(found[name])) for name in pair)
            assert np.linalg.norm(one - two) >= TELLS_APART, pair
