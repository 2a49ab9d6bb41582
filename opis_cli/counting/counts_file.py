"""Write pair counts to ``counts.npz``, and read them back with all shapes and types checked."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from opis_cli.counting import store
from opis_cli.errors import RunError
from opis_cli.records import Grid, GroupPairs, Halves, PairCounts, Split

_HALF_ARRAYS = tuple(Halves.__dataclass_fields__)
_SPLIT_ARRAYS = tuple(Split.__dataclass_fields__)
_GROUP_ARRAYS = (
    "thresholds",
    "one",
    "two",
    "genuine",
    "impostor",
    "genuine_pairs",
    "impostor_pairs",
)


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
    "answered",
    "right_answers",
    "duplicates",
    "conflicts",
    "folds",
    "inside",
    "genuine_beyond",
    "borderline_genuine",
    "borderline_impostor",
    "unscored",
    "unscored_by_class",
)


_BY_THRESHOLD = (
    *("open_set", "answered", "right_answers"),
    *("borderline_genuine", "borderline_impostor"),
)
"""Optional arrays with one number for each threshold."""


def grid_arrays(grid: Grid) -> dict[str, Any]:
    """Return the fields of a grid by name. ``grid_of`` makes a grid of them again."""
    return {name: getattr(grid, name) for name in Grid.__dataclass_fields__}


def grid_of(arrays: Any) -> Grid:
    """Return the grid of which ``grid_arrays`` made arrays."""
    return Grid(arrays["thresholds"], int(arrays["window"]), arrays["by_class"])


def save_counts(counts: PairCounts, file: Path) -> None:
    """Write pair counts to a file. ``load_counts`` reads them."""
    arrays = {
        **grid_arrays(counts.grid),
        "metric": counts.metric,
        "unit": counts.unit,
        "rounding": counts.rounding,
        "class_names": _packed_names(counts.class_names),
        "excluded": counts.excluded,
        **{name: getattr(counts, name) for name in _COUNT_ARRAYS},
        **_optional_arrays(counts),
        **({"tenants_drawn": True} if counts.tenants_drawn else {}),
    }
    with file.open("wb") as stream:
        store.write(stream, arrays)


def _optional_arrays(counts: PairCounts) -> dict[str, Any]:
    """Return the optional arrays that these counts have, by name."""
    found = {name: getattr(counts, name) for name in _OPTIONAL_ARRAYS}
    found = {name: array for name, array in found.items() if array is not None}
    if counts.halves is not None:
        found |= {f"halves_{name}": getattr(counts.halves, name) for name in _HALF_ARRAYS}
    if counts.split is not None:
        found |= {f"split_{name}": getattr(counts.split, name) for name in _SPLIT_ARRAYS}
    if counts.group_pairs is not None:
        pairs = counts.group_pairs
        found |= {f"groups_{name}": getattr(pairs, name) for name in _GROUP_ARRAYS}
        found |= {"groups_names": _packed_names(pairs.names), "groups_others": pairs.others}
    return found


def _packed_names(names: Any) -> Any:
    """Return names that are text as the UTF-8 bytes of a JSON list.

    Such an array needs no pickling and no padding, and a name may have any length.
    """
    if names.dtype.kind == "i":
        return names
    return np.frombuffer(json.dumps(list(names)).encode(), np.uint8)


def _names_of(packed: Any) -> Any:
    """Return the names of which ``_packed_names`` made an array."""
    if packed.dtype != np.uint8:
        return packed
    return np.array(json.loads(packed.tobytes()), dtype=object)


def load_counts(file: Path) -> PairCounts:
    """Read pair counts from a run folder's ``counts.npz``.

    Raises
    ------
    RunError
        The file is missing or damaged.
    """
    try:
        arrays = store.read(file)
        counts = PairCounts(
            grid=grid_of(arrays),
            metric=str(arrays["metric"]),  # type: ignore[arg-type]
            unit=bool(arrays["unit"]),
            rounding=float(arrays["rounding"]),
            class_names=_names_of(arrays["class_names"]),
            excluded=int(arrays["excluded"]) if "excluded" in arrays else 0,
            halves=_halves_of(arrays),
            split=_split_of(arrays),
            group_pairs=_groups_of(arrays),
            tenants_drawn=bool(arrays.get("tenants_drawn", False)),
            **{name: arrays[name] for name in _COUNT_ARRAYS},
            **{name: arrays[name] for name in _OPTIONAL_ARRAYS if name in arrays},
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
        # An older opis compared each half with all rows of other classes, and kept no such number.
        sizes = arrays["sizes"]
        found["impostor_pairs"] = found["sizes"] * (sizes.sum() - sizes[found["classes"]])
    return Halves(**found)


def _split_of(arrays: Any) -> Split | None:
    if "split_classes" not in arrays:
        return None
    return Split(**{name: arrays[f"split_{name}"] for name in _SPLIT_ARRAYS})


def _groups_of(arrays: Any) -> GroupPairs | None:
    if "groups_one" not in arrays:
        return None
    return GroupPairs(
        names=_names_of(arrays["groups_names"]),
        others=int(arrays["groups_others"]),
        **{name: arrays[f"groups_{name}"] for name in _GROUP_ARRAYS},
    )


def _fits_together(counts: PairCounts) -> bool:
    """Return whether the shapes and types of the arrays belong to one count."""
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
            array is None or array.shape == (size,)
            for array in (getattr(counts, name) for name in _BY_THRESHOLD)
        )
        and (beyond is None or beyond.shape == (classes, size - grid.window))
        and (beyond is None or np.array_equal(grid.by_class[: grid.window], np.arange(grid.window)))
        and grid_fits(grid)
        and _folds_fit(counts)
        and _unscored_fit(counts)
        and _halves_fit(counts.halves, classes)
        and _split_fits(counts.split, classes)
        and _groups_fit(counts.group_pairs)
    )


def grid_fits(grid: Grid) -> bool:
    """Return whether the thresholds of a grid rise, and its other fields go with them."""
    size = len(grid.thresholds)
    return (
        0 < grid.window <= size
        and grid.thresholds.ndim == grid.by_class.ndim == 1
        and len(grid.by_class) > 0
        and bool(np.all(np.diff(grid.thresholds) > 0))
        and bool(np.all(np.diff(grid.by_class) > 0))
        and int(grid.by_class[0]) >= 0
        and int(grid.by_class[-1]) == size - 1
    )


def _folds_fit(counts: PairCounts) -> bool:
    if counts.folds is None or counts.inside is None:
        return counts.folds is counts.inside
    known = bool(np.isin(counts.folds, np.arange(len(counts.inside))).all())
    shape = (len(counts.inside), len(counts.grid.thresholds))
    return known and len(counts.folds) == len(counts.sizes) and counts.inside.shape == shape


def _unscored_fit(counts: PairCounts) -> bool:
    if counts.unscored is None or counts.unscored_by_class is None:
        return counts.unscored is counts.unscored_by_class
    shapes = counts.unscored.shape, counts.unscored_by_class.shape
    return shapes == ((2,), (2, len(counts.sizes)))


def _halves_fit(halves: Halves | None, classes: int) -> bool:
    if halves is None:
        return True
    split, points = len(halves.classes), len(halves.thresholds)
    return (
        halves.sizes.shape == halves.impostor_pairs.shape == (2, split)
        and halves.genuine.shape == halves.impostor.shape == (2, split, points)
        and bool(np.all((halves.classes >= 0) & (halves.classes < classes)))
    )


def _split_fits(split: Split | None, classes: int) -> bool:
    if split is None:
        return True
    shape = (2, len(split.classes), len(split.thresholds))
    arrays = split.genuine, split.impostor
    return (
        all(array.shape == shape and array.dtype.kind in "iu" for array in arrays)
        and bool(np.all((split.classes >= 0) & (split.classes < classes)))
        and all(bool(np.all(array[:, :, -1] > 0)) for array in arrays)
    )


def _groups_fit(pairs: GroupPairs | None) -> bool:
    if pairs is None:
        return True
    of_pairs = pairs.one, pairs.two, pairs.genuine_pairs, pairs.impostor_pairs
    tables = pairs.genuine, pairs.impostor
    shape = (len(pairs.one), len(pairs.thresholds))
    return (
        pairs.others >= 0
        and pairs.names.ndim == 1
        and shape[1] > 0
        and all(array.shape == shape and array.dtype.kind in "iu" for array in tables)
        and all(array.shape == shape[:1] and array.dtype.kind in "iu" for array in of_pairs)
        and all(bool(np.all((ends >= 0) & (ends < pairs.number))) for ends in of_pairs[:2])
        and bool(np.all(np.diff(pairs.thresholds) > 0))
    )
