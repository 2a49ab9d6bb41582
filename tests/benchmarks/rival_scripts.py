"""What people would write to judge a threshold without opis, one function for each tool.

Each script takes ``vectors`` of shape (rows, dim), float32, and ``labels`` of shape (rows,), whole
numbers from 0. It returns what it found by name, as far as its tool tells: all scripts must agree.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.machine import processors

Vectors, Labels = NDArray[np.float32], NDArray[np.int64]
Answers = dict[str, float]

THRESHOLD = 0.795
"""The cosine distance at which answers are compared: about FAR 1 % of the made rows."""
_BINS = 2_000
"""Steps of the curves, over all cosine distances from 0 to 2."""
_ACCEPTED = round(THRESHOLD * _BINS / 2)
"""How many of these steps lie below the threshold."""


def by_opis(vectors: Vectors, labels: Labels) -> Answers:
    """Evaluate with the defaults: intervals and a recommendation included."""
    import opis_cli

    # "auto" takes numba too, but not for the small set that warms up.
    run = opis_cli.evaluate(vectors, labels, threshold=THRESHOLD, engine="numba")
    at, points = run.report.deployed, run.report.operating_points
    return {
        "FAR": at.far,
        "FRR": at.frr,
        "class mean FAR": at.class_mean_far,
        "class mean FRR": at.class_mean_frr,
        "FRR at FAR 1 %": next(point.frr for point in points if point.far == 0.01),
        "recall@1": run.report.recall_at_1,
    }


def by_scikit_learn(vectors: Vectors, labels: Labels) -> Answers:
    """All distances at once, and a mask for each class."""
    from sklearn.metrics import pairwise_distances

    thresholds = np.linspace(0, 2, _BINS + 1)
    curves = np.zeros((2, labels.max() + 1, len(thresholds)), np.int64)
    distances = pairwise_distances(vectors, metric="cosine")
    np.fill_diagonal(distances, np.inf)
    for label in np.unique(labels):
        own = distances[labels == label]
        for curve, columns in zip(curves, (labels == label, labels != label), strict=True):
            found = np.sort(own[:, columns], axis=None)
            curve[label] = np.searchsorted(found, thresholds, side="right")
    return _rates(*curves[:, :, _ACCEPTED], labels)


def by_torch(vectors: Vectors, labels: Labels) -> Answers:
    """Blocks of ``X @ X.T`` and a histogram of each: a block has the rows of one class."""
    import torch

    curves = np.zeros((2, labels.max() + 1, _BINS), np.int64)
    rows, classes = torch.from_numpy(vectors), torch.from_numpy(labels)
    rows = torch.nn.functional.normalize(rows)
    for label in np.unique(labels):
        own = classes == label
        # A histogram leaves out what lies beyond its ends, even by rounding.
        scores = (rows[own] @ rows.T).clamp_(-1, 1)
        genuine, pairs = (
            torch.histc(part, _BINS, -1, 1).numpy().astype(np.int64)
            for part in (scores[:, own], scores)
        )
        curves[:, label] = genuine, pairs - genuine
        curves[0, label, -1] -= int(own.sum())
    return _rates(*curves[:, :, -_ACCEPTED:].sum(axis=2), labels)


def by_faiss(vectors: Vectors, labels: Labels) -> Answers:
    """List all accepted pairs at one threshold."""
    import faiss

    rows = vectors.copy()
    faiss.normalize_L2(rows)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    ends, _, others = index.range_search(rows, 1 - THRESHOLD)
    own = np.repeat(labels, np.diff(ends.astype(np.int64)))
    sizes = np.bincount(labels)
    accepted = np.bincount(own, minlength=len(sizes))
    genuine = np.bincount(own[own == labels[others]], minlength=len(sizes))
    return _rates(genuine - sizes, accepted - genuine, labels)


def by_duckdb(vectors: Vectors, labels: Labels) -> Answers:
    """A join of the table with itself. All ordered pairs are faster than each pair once."""
    import duckdb
    import pyarrow

    columns = pyarrow.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    made = pyarrow.table({"id": np.arange(len(labels)), "label": labels, "vector": columns})
    with duckdb.connect(config={"threads": processors()}) as database:
        database.register("made", made)
        database.execute("CREATE TABLE items AS SELECT * FROM made")
        found = database.execute(
            f"""SELECT a.label AS label, a.label = b.label AS genuine,
                floor(array_cosine_distance(a.vector, b.vector) * {_BINS // 2})::INT AS bin,
                count(*) FILTER (a.id <> b.id) AS pairs
            FROM items a, items b GROUP BY ALL"""
        ).fetchnumpy()
    accepted = np.zeros((2, labels.max() + 1), np.int64)
    kept = found["bin"] < _ACCEPTED
    kind = 1 - found["genuine"][kept].astype(np.int64)
    np.add.at(accepted, (kind, found["label"][kept]), found["pairs"][kept])
    return _rates(*accepted, labels)


def by_open_metric_learning(vectors: Vectors, labels: Labels) -> Answers:
    """Its search with all rows as neighbours, and its FNMR at an FMR."""
    import torch
    from oml.functional.knn import batched_knn
    from oml.functional.metrics import calc_fnmr_at_fmr

    rows = torch.nn.functional.normalize(torch.from_numpy(vectors))
    ids = torch.arange(len(rows))
    distances, others, partners = batched_knn(
        rows, ids, ids, top_n=len(rows), labels_gt=torch.from_numpy(labels)
    )
    genuine = torch.cat(list(map(torch.isin, others, partners))).numpy()
    distances = torch.cat(distances).numpy()
    found = calc_fnmr_at_fmr(distances[genuine], distances[~genuine], (0.01,))
    return {"FRR at FAR 1 %": float(found[0])}


def by_pytorch_metric_learning(vectors: Vectors, labels: Labels) -> Answers:
    """Its accuracies by nearest neighbours: as many as the largest class has rows."""
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    accuracies = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(
        include=accuracies, k="max_bin_count", device=torch.device("cpu")
    )
    rows = torch.nn.functional.normalize(torch.from_numpy(vectors))
    return {"recall@1": calculator.get_accuracy(rows, labels)["precision_at_1"]}


def _rates(genuine: NDArray[np.int64], impostor: NDArray[np.int64], labels: Labels) -> Answers:
    """The rates at the threshold, from the ordered pairs that it accepts in each class."""
    sizes = np.bincount(labels)
    partners, strangers = sizes * (sizes - 1), sizes * (len(labels) - sizes)
    rejected, judged = partners - genuine, sizes > 1
    return {
        "FAR": impostor.sum() / strangers.sum(),
        "FRR": rejected.sum() / partners.sum(),
        "class mean FAR": np.mean(impostor[judged] / strangers[judged]),
        "class mean FRR": np.mean(rejected[judged] / partners[judged]),
    }


@dataclass(frozen=True, slots=True)
class Rival:
    """A way to an answer, and what it yields.

    Attributes
    ----------
    package : str
        The distribution that has the tool.
    name : str
        The tool, as figures call it.
    call : str
        What is called, as tables show it.
    script : callable
    yields : str
    curves : bool
        Whether it yields whole curves by class.
    """

    package: str
    name: str
    call: str
    script: Callable[[Vectors, Labels], Answers]
    yields: str
    curves: bool = True


_CURVES = "FAR and FRR at 2,000 thresholds, pooled and by class"
RIVALS = (
    Rival(
        "opis-cli",
        "opis",
        "evaluate",
        by_opis,
        "FAR and FRR at all thresholds, pooled and by class; intervals, the recommended "
        "threshold, OPIS, recall@1",
    ),
    Rival("scikit-learn", "scikit-learn", "pairwise_distances", by_scikit_learn, _CURVES),
    Rival("torch", "torch", "X @ X.T, histc", by_torch, _CURVES),
    Rival("duckdb", "DuckDB", "array_cosine_distance", by_duckdb, _CURVES),
    Rival(
        "faiss-cpu",
        "faiss",
        "range_search",
        by_faiss,
        "FAR and FRR at one threshold, which must be known before; pooled and by class",
        curves=False,
    ),
    Rival(
        "open-metric-learning",
        "open-metric-learning",
        "calc_fnmr_at_fmr",
        by_open_metric_learning,
        "FRR at one FAR, pooled; no threshold",
        curves=False,
    ),
    Rival(
        "pytorch-metric-learning",
        "pytorch-metric-learning",
        "AccuracyCalculator",
        by_pytorch_metric_learning,
        "recall@1, R-precision and MAP@R; no FAR, no FRR, no threshold",
        curves=False,
    ),
)
"""opis, and what people would use instead."""
