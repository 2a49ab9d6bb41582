"""Find fonts for the text of a picture, whatever script its names are in."""

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.textpath import TextPath

BOX = "□"
"""What stands for a character that no font has."""
_FIRST = re.compile(
    r"noto sans|droid sans fallback|wenquanyi|arial unicode|hiragino|pingfang|yu gothic|malgun|"
    r"microsoft|nirmala|tahoma|segoe ui|unifont",
    re.IGNORECASE,
)
"""Families to look at first: they have most scripts between them."""
_UNSEEN = "\n\t\u200b\u200c\u200d"
"""Characters that need no glyph."""


def width_of(text: str, size: float) -> float:
    """Return the width of a text in inches, in the font of pictures at a size in points."""
    # A dollar sign without a backslash would begin a formula.
    path = TextPath((0, 0), text.replace("$", r"\$"), size=size)
    return float(path.get_extents().width) / 72


def cover(artists: Sequence[Artist]) -> None:
    """Give all text of artists fonts that have its characters.

    Where no font here has a character, a box stands for it, and one warning says so.

    Parameters
    ----------
    artists : sequence of Figure or Axes
    """
    texts = [
        text for artist in artists for text in artist.findobj(Text) if not text.get_text().isascii()
    ]
    needed = {char for text in texts for char in text.get_text()} - set(_UNSEEN)
    families = FontProperties().get_family()
    missing = needed - _characters(font_manager.findfont(FontProperties()))
    more = []
    for family, path in _fallbacks() if missing else ():
        has = missing & _characters(path)
        if has:
            more.append(family)
            missing -= has
        if not missing:
            break
    for text in texts:
        if more:
            text.set_fontfamily([*families, *more])
        if missing & set(text.get_text()):
            text.set_text("".join(BOX if char in missing else char for char in text.get_text()))
    if missing:
        some = " ".join(sorted(missing)[:5])
        dots = " ..." if len(missing) > 5 else ""
        warnings.warn(
            f"no font here has {len(missing)} of the characters of the names ({some}{dots}), so "
            "boxes stand for them in the picture; install a font that has them, such as Noto",
            stacklevel=2,
        )


@cache
def _characters(path: str) -> frozenset[str]:
    """Return the characters that a font file has."""
    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def need_outlines(figure: Figure) -> bool:
    """Return whether text of a figure has a font of outlines of another kind than TrueType.

    A PDF cannot hold such a font as TrueType: matplotlib would write one that shows nothing.
    """
    families = {family for text in figure.findobj(Text) for family in text.get_fontfamily()} - set(
        FontProperties().get_family()
    )
    return any(not _is_truetype(path) for family, path in _fallbacks() if family in families)


@cache
def _is_truetype(path: str) -> bool:
    with Path(path).open("rb") as file:
        kind = file.read(4)
        if kind == b"ttcf":
            # A collection: matplotlib takes its first font, whose place comes after three numbers.
            file.seek(12)
            file.seek(int.from_bytes(file.read(4), "big"))
            kind = file.read(4)
    return kind != b"OTTO"


def _fallbacks() -> Iterator[tuple[str, str]]:
    """Yield family and file of each installed family once, TrueType and the likely ones first."""
    files: dict[str, str] = {}
    for entry in font_manager.fontManager.ttflist:
        upright = entry.style == "normal" and entry.weight in (400, "normal", "regular")
        # matplotlib's font of last resort has a box for each character, and counts as having all.
        if upright and not entry.name.startswith("Last Resort") and Path(entry.fname).exists():
            files.setdefault(entry.name, entry.fname)
    yield from sorted(
        files.items(),
        key=lambda item: (not _is_truetype(item[1]), not _FIRST.search(item[0]), item[0]),
    )
