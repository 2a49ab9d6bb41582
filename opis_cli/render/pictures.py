"""Write pictures to files: PNG, SVG or PDF."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from opis_cli.errors import RunError
from opis_cli.files import replacing

PICTURES = (".png", ".svg", ".pdf")


def check_picture(file: Path, flag: str = "-o") -> None:
    """Raise a ``RunError`` if the suffix of a file is not that of a picture.

    Call it before the work, so that a wrong name does not waste it.
    """
    if file.suffix.lower() not in PICTURES:
        kinds = ", ".join(PICTURES)
        raise RunError(f"{flag} {file}: pictures are {kinds}; end its name in one of them")


def picture_bytes(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save_figure(figure: Figure, file: Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix of the file.

    Raises
    ------
    RunError
        The suffix is none of these, or the file cannot be written.
    """
    check_picture(file)
    with replacing(file) as scratch:
        figure.savefig(scratch, format=file.suffix[1:].lower())
