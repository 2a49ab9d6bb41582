"""How often intervals hold the truth: ``python tests/benchmarks/simulate.py FILE ...``.

The classes of a file of real embeddings are the population, and their pairs the truth. Draws of
whole classes, without replacement, are evaluated as if they were all that is known; an interval
covers if it holds the figure of the full file. By default at most a fifth of the classes is drawn,
500 times; ``--sizes LOW HIGH`` keeps the classes of such sizes, and ``--tail`` thins them out
until their sizes are long-tailed.
"""

import argparse
from pathlib import Path

import numpy as np

from opis_cli import readers, sampling
from opis_cli.curves import pooled_far, pooled_frr
from opis_cli.intervals import LEVEL, band_columns, spread, threshold_interval
from opis_cli.records import Embeddings, Grid, PairCounts
from opis_cli.scores import consistency, last_within
from opis_cli.settings import Calibration
from opis_cli.uncertainty import log_interval, replicates_of_consistency

FARS = (1e-3, 1e-2, 5e-2)
RANGE = Calibration("far", 0.01, 0.10)
POINTS = 150


class Population:
    """Accepted pairs of every two classes at every threshold: any draw of classes is a sum."""

    def __init__(self, embeddings: Embeddings) -> None:
        order = np.argsort(embeddings.labels, kind="stable")
        vectors = embeddings.vectors[order].astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        labels = embeddings.labels[order]
        self.sizes = np.bincount(labels)
        starts = np.append(0, np.cumsum(self.sizes)[:-1])
        distances = 1 - vectors @ vectors.T
        impostor = distances[labels[:, None] != labels[None, :]]
        shares = np.concatenate([np.geomspace(1e-5, 0.3, POINTS), FARS, [0.01, 0.10]])
        self.thresholds = np.append(np.unique(np.quantile(impostor, shares)), 2.0)
        self.accepted = np.empty((len(self.sizes), len(self.sizes), len(self.thresholds)), np.int32)
        for k, threshold in enumerate(self.thresholds):
            found = np.add.reduceat((distances <= threshold).astype(np.int32), starts, axis=0)
            self.accepted[:, :, k] = np.add.reduceat(found, starts, axis=1)
        inside = np.arange(len(self.sizes))
        self.accepted[inside, inside] = (self.accepted[inside, inside] - self.sizes[:, None]) // 2

    def counts(self, classes: np.ndarray) -> PairCounts:
        """The pair counts of some classes alone."""
        accepted = self.accepted[np.ix_(classes, classes)]
        genuine = accepted[np.arange(len(classes)), np.arange(len(classes))]
        impostor = accepted.sum(axis=1) - genuine
        count = len(self.thresholds)
        return PairCounts(
            grid=Grid(self.thresholds, count, np.arange(count)),
            metric="cosine",
            unit=True,
            class_names=classes,
            sizes=self.sizes[classes],
            genuine=genuine,
            impostor=impostor,
            pooled_genuine=genuine.sum(axis=0),
            pooled_impostor=impostor.sum(axis=0) // 2,
            nearest_hits=np.zeros(len(classes), int),
        )


class Tally:
    """How often, and by how much, intervals of one figure missed the truth."""

    def __init__(self) -> None:
        self.found: dict[str, list[int]] = {}

    def add(self, name: str, low: float, high: float, truth: float) -> None:
        miss = -1 if truth < low else 1 if truth > high else 0
        self.found.setdefault(name, []).append(miss if low <= high else 2)

    def show(self) -> None:
        for name, misses in self.found.items():
            seen = np.array(misses)
            print(
                f"| {name} | {100 * np.mean(seen == 0):.1f} % | {100 * np.mean(seen < 0):.1f} % "
                f"| {100 * np.mean(seen > 0):.1f} % | {len(seen)} |"
            )


def judge(
    population: Population, share: float, draws: int, seed: int, max_pairs: int | None = None
) -> Tally:
    """Coverage of all intervals over draws of that share of the classes, or of so many pairs."""
    labels = np.repeat(np.arange(len(population.sizes)), population.sizes)
    every = np.arange(len(population.sizes))
    whole = population.counts(every)
    far, frr = pooled_far(whole), pooled_frr(whole)
    truth = consistency(whole, RANGE, 1.0, 0.1)
    rng = np.random.default_rng(seed)
    tally = Tally()
    for draw in range(draws):
        if max_pairs is None:
            classes = np.sort(rng.choice(every, int(share * len(every)), replace=False))
        else:
            classes = np.unique(labels[sampling.draw(labels, max_pairs, draw)])
        counts = population.counts(classes)
        if counts.genuine_total == 0:
            continue
        columns = band_columns(counts)
        bands = {rate: spread(counts, rate, columns) for rate in ("far", "frr")}
        limits = {rate: band.limits() for rate, band in bands.items() if band is not None}
        for bound in FARS:
            # The threshold that this draw recommends, and what it does to all classes.
            at = last_within(pooled_far(counts), bound)
            if at is None:
                continue
            for rate, true in (("far", far), ("frr", frr)):
                if bands[rate] is not None:
                    low, high = (float(end[at]) for end in limits[rate])
                    tally.add(f"{rate.upper()} at FAR {bound:g}", low, high, float(true[at]))
            best = population.thresholds[last_within(far, bound)]
            tally.add(
                f"threshold at FAR {bound:g}",
                *threshold_interval(bands["far"], "far", bound),
                float(best),
            )
        one = consistency(counts, RANGE, 1.0, 0.1)
        pair = replicates_of_consistency(counts, one, 1.0, 0.1, draw)
        for name, value, replicates, true in (
            ("OPIS", one.opis, pair[0], truth.opis),
            ("10%-OPIS", one.eps_opis, pair[1], truth.eps_opis),
        ):
            if (ends := log_interval(value, replicates, one, LEVEL, 1.0)) is not None:
                tally.add(name, *ends, true)
    return tally


def thinned(embeddings: Embeddings, low: int, high: int, tail: bool, seed: int) -> Embeddings:
    """Only classes of some sizes, and fewer rows of most where a long tail is wanted."""
    rng = np.random.default_rng(seed)
    sizes = np.bincount(embeddings.labels)
    keep = np.where((sizes >= low) & (sizes <= high), sizes, 0)
    if tail:
        keep = np.minimum(keep, (2 / rng.random(len(sizes)) ** 0.9).astype(int))
    chosen = [
        rng.choice(np.flatnonzero(embeddings.labels == k), keep[k], replace=False)
        for k in range(len(sizes))
    ]
    rows = np.sort(np.concatenate(chosen))
    labels = np.unique(embeddings.labels[rows], return_inverse=True)[1]
    names = embeddings.class_names[keep > 0]
    return Embeddings(embeddings.vectors[rows], labels, names, rows, 0, embeddings.source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--share", type=float, default=0.2, help="of the classes, in each draw")
    parser.add_argument("--max-pairs", type=int, help="draw as opis --max-pairs does instead")
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--sizes", type=int, nargs=2, default=(1, 1_000_000))
    parser.add_argument("--tail", action="store_true", help="make the sizes long-tailed")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for file in asked.files:
        embeddings = thinned(readers.read(file), *asked.sizes, asked.tail, asked.seed)
        sizes = np.bincount(embeddings.labels)
        print(
            f"\n{Path(file).name}: {len(sizes)} classes of {sizes.min()} to {sizes.max()} rows, "
            + (
                f"{int(asked.share * len(sizes))} drawn"
                if asked.max_pairs is None
                else f"{asked.max_pairs:,} pairs of them drawn"
            )
            + f" {asked.draws} times\n"
        )
        print("| interval | covers | truth is below | truth is above | draws |")
        print("|---|---|---|---|---|")
        population = Population(embeddings)
        judge(population, asked.share, asked.draws, asked.seed, asked.max_pairs).show()


if __name__ == "__main__":
    main()
