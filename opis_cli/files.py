"""The files of a run, one by one: written whole or not at all, read with suspicion."""

import contextlib
import dataclasses
import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opis_cli import store
from opis_cli.errors import RunError, SettingsError
from opis_cli.limits import example
from opis_cli.records import Grid, Halves, PairCounts
from opis_cli.report import Recommendation, Report
from opis_cli.report_json import to_json
from opis_cli.settings import load_config
from opis_cli.text import scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")
ACCEPT_RULE = "distance <= threshold"
ACCEPT_SCORE_RULE = "score >= threshold"


@contextlib.contextmanager
def replacing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A temporary path whose file or folder becomes ``path`` when all went well, else vanishes.

    A folder is replaced only by a folder.
    """
    scratch: Path | None = None
    new_parents = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        scratch = Path(tempfile.mkdtemp(prefix=".opis-", dir=path.parent))
        yield scratch / "new"
        if path.is_dir():
            path.rename(scratch / "old")
        (scratch / "new").replace(path)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); nothing was left behind"
        ) from None
    finally:
        if scratch is not None:
            # Put the old run back if the last rename was the one that failed.
            if (scratch / "old").exists() and not path.exists():
                (scratch / "old").rename(path)
            shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            for parent in new_parents:
                # Only an empty folder goes: one that we made for nothing.
                parent.rmdir()


def grid_arrays(grid: Grid) -> dict[str, Any]:
    """A grid as arrays by name; ``grid_of`` makes it a grid again."""
    return {name: getattr(grid, name) for name in Grid.__dataclass_fields__}


def grid_of(arrays: Any) -> Grid:
    """The grid that ``grid_arrays`` wrote."""
    return Grid(arrays["thresholds"], int(arrays["window"]), arrays["by_class"])


def save_counts(counts: PairCounts, file: Path) -> None:
    """Write pair counts; ``load_counts`` reads them."""
    names = counts.class_names
    arrays = {
        **grid_arrays(counts.grid),
        "metric": counts.metric,
        "unit": counts.unit,
        "rounding": counts.rounding,
        "class_names": names if names.dtype.kind == "i" else _utf8(names),
        "excluded": counts.excluded,
        **{name: getattr(counts, name) for name in _COUNT_ARRAYS},
        **_optional_arrays(counts),
    }
    with file.open("wb") as stream:
        store.write(stream, arrays)


def _optional_arrays(counts: PairCounts) -> dict[str, Any]:
    """Arrays that not all counts have."""
    found = {name: getattr(counts, name) for name in _OPTIONAL_ARRAYS}
    found = {name: array for name, array in found.items() if array is not None}
    if counts.halves is not None:
        found |= {f"halves_{name}": getattr(counts.halves, name) for name in _HALF_ARRAYS}
    return found


_HALF_ARRAYS = tuple(Halves.__dataclass_fields__)
_COUNT_ARRAYS = (
    "sizes",
    "genuine",
    "impostor",
    "pooled_genuine",
    "pooled_impostor",
    "nearest_hits",
)
_OPTIONAL_ARRAYS = (
    "searches",
    "open_set",
    "duplicates",
    "folds",
    "inside",
    "genuine_beyond",
    "borderline_genuine",
    "borderline_impostor",
)


def _utf8(names: Any) -> Any:
    """Names as the bytes of a JSON list: no pickling, no padding, any length."""
    return np.frombuffer(json.dumps(list(names)).encode(), np.uint8)


def load_counts(file: Path) -> PairCounts:
    """Read pair counts from a run folder's ``counts.npz``.

    Raises
    ------
    RunError
        The file is missing or damaged.
    """
    try:
        arrays = store.read(file)
        names = arrays["class_names"]
        if names.dtype == np.uint8:
            names = np.array(json.loads(names.tobytes()), dtype=object)
        counts = PairCounts(
            grid=grid_of(arrays),
            metric=str(arrays["metric"]),  # type: ignore[arg-type]
            unit=bool(arrays["unit"]),
            rounding=float(arrays["rounding"]),
            class_names=names,
            excluded=int(arrays["excluded"]) if "excluded" in arrays else 0,
            **{name: arrays[name] for name in _COUNT_ARRAYS},
            **{name: arrays[name] for name in _OPTIONAL_ARRAYS if name in arrays},
            halves=_halves_of(arrays),
        )
        if not _fits_together(counts):
            raise ValueError("arrays do not fit together")
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror or error})") from None
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise RunError(f"{file}: damaged counts ({error}); evaluate the source again") from None
    return counts


def _halves_of(arrays: Any) -> Halves | None:
    if "halves_classes" not in arrays:
        return None
    found = {name: arrays[f"halves_{name}"] for name in _HALF_ARRAYS if f"halves_{name}" in arrays}
    if "impostor_pairs" not in found:
        # An older opis counted the rows of a half with all rows of other classes.
        sizes = arrays["sizes"]
        found["impostor_pairs"] = found["sizes"] * (sizes.sum() - sizes[found["classes"]])
    return Halves(**found)


def _fits_together(counts: PairCounts) -> bool:
    """Whether arrays from a file have the shapes of one count."""
    grid, classes = counts.grid, len(counts.sizes)
    shape, size = (classes, len(grid.by_class)), len(grid.thresholds)
    optional = [getattr(counts, name) for name in _OPTIONAL_ARRAYS]
    beyond = counts.genuine_beyond
    return (
        all(getattr(counts, name).dtype.kind in "iu" for name in _COUNT_ARRAYS)
        and all(array.dtype.kind in "iuf" for array in optional if array is not None)
        and grid.thresholds.dtype.kind == "f"
        and counts.genuine.shape == counts.impostor.shape == shape
        and counts.pooled_genuine.shape == counts.pooled_impostor.shape == (size,)
        and len(counts.class_names) == len(counts.nearest_hits) == classes
        and len(counts.searchers) == classes
        and all(
            one is None or one.shape == (size,)
            for one in (counts.open_set, counts.borderline_genuine, counts.borderline_impostor)
        )
        and (beyond is None or beyond.shape == (classes, size - grid.window))
        and (beyond is None or np.array_equal(grid.by_class[: grid.window], np.arange(grid.window)))
        and 0 < grid.window <= size
        and bool(np.all(np.diff(grid.thresholds) > 0))
        and bool(np.all(np.diff(grid.by_class) > 0))
        and int(grid.by_class[0]) >= 0
        and int(grid.by_class[-1]) == size - 1
        and _folds_fit(counts)
        and _halves_fit(counts.halves, classes)
    )


def _folds_fit(counts: PairCounts) -> bool:
    if counts.folds is None or counts.inside is None:
        return counts.folds is counts.inside
    known = bool(np.isin(counts.folds, np.arange(len(counts.inside))).all())
    shape = (len(counts.inside), len(counts.grid.thresholds))
    return known and len(counts.folds) == len(counts.sizes) and counts.inside.shape == shape


def _halves_fit(halves: Halves | None, classes: int) -> bool:
    if halves is None:
        return True
    split, points = len(halves.classes), len(halves.thresholds)
    return (
        halves.sizes.shape == halves.impostor_pairs.shape == (2, split)
        and halves.genuine.shape == halves.impostor.shape == (2, split, points)
        and bool(np.all((halves.classes >= 0) & (halves.classes < classes)))
    )


def threshold_json(report: Report, chosen: Recommendation) -> str:
    """The small file to deploy: threshold, metric, rule, data and bounds."""
    score = chosen.equivalents.score
    return to_json(
        {
            "threshold": chosen.threshold if score is None else score,
            "metric": report.settings["metric"],
            "accept": ACCEPT_RULE if score is None else ACCEPT_SCORE_RULE,
            "equivalents": dataclasses.asdict(chosen.equivalents),
            "max_far": chosen.max_far,
            "max_frr": chosen.max_frr,
            "far": chosen.far,
            "frr": chosen.frr,
            "confidence": chosen.confidence,
            "source_sha256": report.source.sha256,
            "created": report.created,
            "opis_version": report.opis_version,
        }
    )


def write_threshold(report: Report, chosen: Recommendation, file: Path) -> None:
    """Write ``threshold.json`` for a recommendation.

    Raises
    ------
    RunError
        No threshold meets the bounds, or the file cannot be written.
    """
    if chosen.threshold is None:
        raise RunError(f"{file}: not written, as no threshold meets the bounds")
    write_text(file, threshold_json(report, chosen))


def write_text(file: Path, text: str) -> None:
    """Write a text file.

    Raises
    ------
    RunError
        The file cannot be written.
    """
    with replacing(file) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_gate_example(file: Path) -> None:
    """Write an example of the table ``[gate]`` into a settings file, after what it holds already.

    Raises
    ------
    SettingsError
        The file has such a table, or cannot be read.
    """
    before = ""
    if file.exists():
        if "gate" in load_config(file):
            raise SettingsError(f"{file}: has a table [gate] already; edit it, or remove it first")
        before = file.read_text(encoding="utf-8").rstrip() + "\n\n"
    write_text(file, before.lstrip() + example())


def check_picture(file: Path, flag: str = "-o") -> None:
    """Refuse a name that is no picture's, before the work rather than after it."""
    if file.suffix.lower() not in PICTURES:
        kinds = ", ".join(PICTURES)
        raise RunError(f"{flag} {file}: pictures are {kinds}; end its name in one of them")


def save_figure(figure: "Figure", file: Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the file's suffix.

    Raises
    ------
    RunError
        The suffix is none of these, or the file cannot be written.
    """
    check_picture(file)
    with replacing(file) as scratch:
        figure.savefig(scratch, format=file.suffix[1:].lower())


def read_threshold(text: str, metric: str) -> float:
    """A deployed threshold, as a distance: a number, or a ``threshold.json`` of the same metric.

    A score of scored pairs, which are the closer the higher it is, is a negative distance.

    Raises
    ------
    SettingsError
        It is neither, or of another metric.
    """
    try:
        threshold = float(text)
    except ValueError:
        threshold = _threshold_of_file(Path(text), metric)
    if metric == "score" and math.isfinite(threshold):
        return -threshold
    if not (math.isfinite(threshold) and threshold >= 0):
        raise SettingsError(f"--threshold {text}: a distance is finite and not negative")
    if metric == "cosine" and threshold > 2:
        raise SettingsError(f"--threshold {text}: a cosine distance lies between 0 and 2")
    return threshold


def _threshold_of_file(file: Path, metric: str) -> float:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        threshold, written = content["threshold"], str(content["metric"])
        if type(threshold) not in (int, float):
            raise ValueError
        threshold = float(threshold)
    except OSError as error:
        raise SettingsError(
            f"--threshold {str(file)!r}: neither a number nor a file that can be read "
            f"({error.strerror})"
        ) from None
    except (ValueError, KeyError, TypeError, OverflowError):
        raise SettingsError(
            f"--threshold {file}: no threshold.json (it needs the keys threshold and metric)"
        ) from None
    if written != metric:
        raise SettingsError(
            f"--threshold {file}: made for the {written} metric, and these are {scale(metric)}s"
        )
    return threshold
