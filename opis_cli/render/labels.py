"""Place names beside curves and points, where they cover little, with lines that lead to them."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from numpy.typing import NDArray

from opis_cli.records import Curve
from opis_cli.render.fonts import cover
from opis_cli.text import plain

_NAME = 22
"""Most characters of a name."""
_MOST_OBSTACLES = 1_500
"""Most points of the data that a name should keep clear of, for speed."""
_ANGLES = np.deg2rad(np.arange(0, 360, 30))
_DISTANCES = (0.9, 1.8, 3.2, 5.0, 7.5)
"""Where a name may stand: directions from its point, and distances in heights of the text."""
_OUTSIDE, _OVER_NAME, _OVER_LINE, _OVER_DATA, _AWAY = 1_000.0, 300.0, 60.0, 600.0, 2.0
"""Costs of a name that leaves the panel, covers another name, covers the line of another, covers
all of the data, or stands the height of its text away from its point."""

Boxes = NDArray[np.float64]


def name_points(
    axes: Axes,
    anchors: Sequence[tuple[Curve, Curve]],
    names: Iterable[Any],
    obstacles: tuple[Curve, Curve],
    *,
    colors: Sequence[str],
    size: float,
) -> None:
    """Write a name near one of its anchors, with a line from the name to the anchor.

    Call this when all else is drawn: the places follow from the final layout.

    Parameters
    ----------
    axes : Axes
    anchors : sequence of pairs of ndarrays
        For each name, x and y of the places that it may point to: one for a point, some for a
        curve.
    names : iterable
        Names from the data. They are not trusted.
    obstacles : pair of ndarrays
        x and y of the data that names should not cover.
    colors : sequence of str
        A colour for each name.
    size : float
        Size of the text in points.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    texts = [
        _text(axes, name, (float(x[0]), float(y[0])), color, size)
        for (x, y), name, color in zip(anchors, names, colors, strict=True)
    ]
    cover([axes])
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    panel = np.array(axes.get_window_extent().extents)
    to_pixels = axes.transData.transform
    blocked = to_pixels(np.column_stack(obstacles))
    blocked = blocked[np.isfinite(blocked).all(axis=1)]
    blocked = blocked[:: max(len(blocked) // _MOST_OBSTACLES, 1)]
    placed: list[Curve] = []
    leaders: list[Curve] = []
    for text, (x, y) in zip(texts, anchors, strict=True):
        # Of the text alone, without its line.
        own = Text.get_window_extent(text)
        half = np.array([own.width, own.height]) / 2 + 1
        points = to_pixels(np.column_stack([x, y]))
        centres, origins = _candidates(points, half)
        best = int(np.argmin(_costs(centres, half, panel, blocked, placed, leaders)))
        at = int(origins[best])
        text.xy = (float(x[at]), float(y[at]))
        # In points, the name stays beside its point at any resolution.
        text.set_position(tuple((centres[best] - points[at]) * 72 / figure.dpi))
        placed.append(np.concatenate([centres[best] - half, centres[best] + half]))
        leaders.append(np.concatenate([points[at], centres[best]]))


def _text(
    axes: Axes, name: object, place: tuple[float, float], color: str, size: float
) -> Annotation:
    """Write a name on its point, with a line that shows once the name stands elsewhere."""
    text = axes.annotate(
        plain(name, _NAME),
        place,
        (0, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=size,
        color=color,
        parse_math=False,
        zorder=9,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
        arrowprops={"arrowstyle": "-", "color": color, "lw": 0.7, "shrinkA": 0, "shrinkB": 1},
    )
    text.set_in_layout(False)
    return text


def _candidates(points: Boxes, half: Curve) -> tuple[Boxes, NDArray[np.int64]]:
    """Return centres where a name may stand, and which point each belongs to."""
    found, origins = [], []
    for i, point in enumerate(points):
        for angle, distance in itertools.product(_ANGLES, _DISTANCES):
            way = np.array([np.cos(angle), np.sin(angle)])
            # From the point to the edge of the box, and the distance beyond.
            edge = min(half[0] / max(abs(way[0]), 1e-9), half[1] / max(abs(way[1]), 1e-9))
            found.append(point + way * (edge + distance * half[1]))
            origins.append(i)
    return np.array(found), np.array(origins)


def _costs(
    centres: Boxes,
    half: Curve,
    panel: Curve,
    blocked: Boxes,
    placed: list[Curve],
    leaders: list[Curve],
) -> Curve:
    """Return how bad each place is: what it covers, and how far it is from its point."""
    low, high = centres - half, centres + half
    outside = ((low < panel[:2]) | (high > panel[2:])).any(axis=1)
    costs = _OUTSIDE * outside
    inside = (
        (blocked[None, :, 0] > low[:, :1])
        & (blocked[None, :, 0] < high[:, :1])
        & (blocked[None, :, 1] > low[:, 1:])
        & (blocked[None, :, 1] < high[:, 1:])
    )
    costs = costs + _OVER_DATA * inside.sum(axis=1) / max(len(blocked), 1)
    for box in placed:
        over = (low < box[2:] + 1).all(axis=1) & (high > box[:2] - 1).all(axis=1)
        costs = costs + _OVER_NAME * over
    for leader in leaders:
        # Points along the line of another name that this one would cover.
        for share in (0.25, 0.5, 0.75):
            spot = leader[:2] + share * (leader[2:] - leader[:2])
            costs = costs + _OVER_LINE * ((low < spot) & (high > spot)).all(axis=1)
    distance = np.tile(_DISTANCES, len(centres) // len(_DISTANCES))
    return np.asarray(costs + _AWAY * distance)
