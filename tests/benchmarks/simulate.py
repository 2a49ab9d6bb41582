"""How often intervals hold the truth: ``python tests/benchmarks/simulate.py``, for README.md.

A set of embeddings is the population, and all its pairs are the truth. Draws of some of its
classes, without replacement, are evaluated as if they were all that is known. An interval covers if
it holds the figure of the full set; a bound with confidence is kept if it holds there. Thresholds
are those that each draw would choose. Changes are those from the set to an altered one: the
sample data's other model, or the same rows with noise.

Two sets are made so that trust is hard: ``sizes`` is long-tailed, and of ``twins`` three pairs of
nearly the same class, as 3 of 20,000 pairs of classes, make half of the false accepts at FAR 0.1 %,
of which most draws have none. With files as arguments it takes these instead.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import data

import opis_cli as opis
from opis_cli.embeddings.read import read
from opis_cli.judging.changes import drawn_changes, figure_changes
from opis_cli.scoring.curves import utility
from opis_cli.statistics.carriers import carriers_of_far
from opis_cli.statistics.confidence import spreads
from opis_cli.statistics.jackknife import threshold_interval

FARS = (1e-3, 1e-2, 5e-2)
"""Bounds at which rates, thresholds and ``--confidence`` are judged."""


def clouds(sizes: np.ndarray, spread: float, twins: int = 0, seed: int = 0) -> data.Data:
    """Classes at lognormal distances about their centres; the first ones are twins, two by two."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = _unit(rng.standard_normal((len(sizes), 32)))
    centres[1 : 2 * twins : 2] = centres[0 : 2 * twins : 2]
    lengths = 0.9 * np.exp(spread * rng.standard_normal(len(sizes)))
    lengths[: 2 * twins] = 0.5
    away = _unit(rng.standard_normal((len(labels), 32)))
    return (centres[labels] + lengths[labels, None] * away).astype(np.float32), labels


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def long_tailed(count: int) -> np.ndarray:
    """Sizes of 2 to 60 rows, most of them small."""
    return np.minimum(60, 2 / np.random.default_rng(5).random(count) ** 0.9).astype(int)


SETS: dict[str, tuple[Callable[[], data.Data], int]] = {
    "fonts_base": (partial(data.sample, "fonts_base"), 37),
    "fonts_tcm": (partial(data.sample, "fonts_tcm"), 37),
    "wordnet": (partial(data.sample, "wordnet"), 20),
    "alike": (partial(clouds, np.full(300, 12), 0.1), 40),
    "sizes": (partial(clouds, long_tailed(300), 0.2, seed=4), 60),
    "twins": (partial(clouds, np.append(np.full(6, 20), np.full(194, 10)), 0.1, 3, 7), 40),
}
"""What makes each set, and how many of its classes are drawn."""


@dataclass
class Population:
    """All rows of a set, by class, and the figures of the whole."""

    vectors: np.ndarray
    altered: np.ndarray
    codes: np.ndarray
    drawn: int

    def __post_init__(self) -> None:
        order = np.argsort(self.codes, kind="stable")
        self.vectors, self.altered = self.vectors[order], self.altered[order]
        self.codes = self.codes[order]
        unit = _unit(self.vectors.astype(np.float64))
        self.distances = 1 - unit @ unit.T
        self.sizes = np.bincount(self.codes)
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.run, self.changed = self.evaluate(np.arange(len(self.sizes)), 0)
        impostor = np.sort(self.distances[self.codes[:, None] != self.codes])
        self.thresholds = {
            far: float(impostor[int(far * len(impostor)) // 2 * 2 - 1]) for far in FARS
        }

    def evaluate(self, classes: np.ndarray, seed: int) -> tuple[opis.Run, opis.Run]:
        """The runs of some classes alone: of the set, and of the altered one."""
        rows = np.isin(self.codes, classes)
        run, changed = (
            opis.evaluate(vectors[rows], self.codes[rows], engine="numpy", seed=seed)
            for vectors in (self.vectors, self.altered)
        )
        return run, changed

    def rates(self, threshold: float) -> dict[str, float]:
        """Pooled and class-mean rates at a threshold."""
        accepted = self.distances <= threshold + 5e-7
        genuine = np.array(
            [
                (accepted[at : at + size, at : at + size].sum() - size) // 2
                for at, size in zip(self.starts, self.sizes, strict=True)
            ]
        )
        own = np.add.reduceat(accepted.sum(axis=1), self.starts) - self.sizes - 2 * genuine
        pairs, others = (self.sizes * (self.sizes - 1)) // 2, len(self.codes) - self.sizes
        kept = pairs > 0
        far, frr = (own / (self.sizes * others))[kept], 1 - genuine[kept] / pairs[kept]
        return {
            "far": own.sum() / (self.sizes * others).sum(),
            "frr": 1 - genuine.sum() / pairs.sum(),
            "class_mean_far": far.mean(),
            "class_mean_frr": frr.mean(),
            "mean_utility": utility(far, frr, 1.0).mean(),
        }


Misses = dict[str, int]
"""Of each interval: 0 where it holds the truth, -1 where that is below it, 1 where it is above."""


def _miss(ends: tuple[float, float], truth: float) -> int:
    return -1 if truth < ends[0] else 1 if truth > ends[1] else 0


def judge(whole: Population, run: opis.Run, changed: opis.Run, seed: int) -> Misses:
    """What the intervals of a draw miss."""
    return judge_run(whole, run) | judge_changes(whole, run, changed, seed)


def judge_changes(whole: Population, run: opis.Run, changed: opis.Run, seed: int) -> Misses:
    """What the paired intervals of ``compare`` and of the gate miss."""
    truth = figure_changes(whole.changed, whole.run, {}, confidence=0.5)
    draws = drawn_changes(changed, run, seed=seed)
    found = figure_changes(changed, run, draws, confidence=0.975)
    return {
        f"change of {name.replace('_', ' ')}": _miss(one.interval, truth[name].change)
        for name, one in found.items()
        if one.interval is not None and truth[name].change is not None
    }


def judge_run(whole: Population, run: opis.Run) -> Misses:
    """What the intervals of one run miss."""
    found: Misses = {}
    report, truth = run.report, whole.run.report
    known, bands = report.intervals, spreads(run.counts)
    at = report.recommendation.threshold
    if at is not None:
        true = whole.rates(at)
        for name in ("class_mean_far", "class_mean_frr", "mean_utility"):
            found[name.replace("_", " ")] = _miss(getattr(known, name), true[name])
    for bound in FARS:
        chosen = run.recommend(max_far=bound, prefer="low-frr")
        if chosen.threshold is None:
            continue
        true = whole.rates(chosen.threshold)
        column = int(np.searchsorted(run.counts.grid.class_thresholds, chosen.threshold))
        for rate in ("far", "frr"):
            low, high = (end[column] for end in bands[rate].limits())
            found[f"{rate.upper()} at FAR {bound:.1%}"] = _miss((low, high), true[rate])
        ends = threshold_interval(bands["far"], "far", bound)
        ends = min(ends[0], chosen.threshold), max(ends[1], chosen.threshold)
        found[f"threshold at FAR {bound:.1%}"] = _miss(ends, whole.thresholds[bound])
        sure = run.recommend(max_far=bound, prefer="low-frr", confidence=0.95)
        if sure.threshold is not None:
            broken = whole.rates(sure.threshold)["far"] > bound
            found[f"bound kept, --max-far {bound:g} --confidence 0.95"] = int(broken)
    worst = round(whole.rates(whole.thresholds[1e-2])["frr"], 3)
    sure = run.recommend(max_frr=worst, prefer="low-far", confidence=0.95)
    if sure.threshold is not None:
        broken = whole.rates(sure.threshold)["frr"] > worst
        found["bound kept, --max-frr as at FAR 1 % --confidence 0.95"] = int(broken)
    if known.opis is not None:
        found["OPIS"] = _miss(known.opis, truth.opis)
    if known.eps_opis is not None:
        found["10%-OPIS"] = _miss(known.eps_opis, truth.eps_opis.value)
    if report.opis_corrected is not None:
        found["OPIS less noise"] = _miss(report.opis_corrected.interval, truth.opis_corrected.value)
    return found


def altered(name: str, vectors: np.ndarray) -> np.ndarray:
    """The same rows of another model: for the fonts the other sample, else of some noise."""
    if name.startswith("fonts_"):
        return data.sample("fonts_tcm" if name == "fonts_base" else "fonts_base")[0]
    noise = np.random.default_rng(9).standard_normal(vectors.shape) / np.sqrt(vectors.shape[1])
    return (vectors + 0.3 * np.linalg.norm(vectors, axis=1, keepdims=True) * noise).astype("f4")


def simulate(name: str, draws: int, seed: int) -> list[Misses]:
    """What the intervals of many draws of a set, or of a file, miss."""
    if name in SETS:
        make, drawn = SETS[name]
        vectors, labels = make()
        codes = np.unique(labels, return_inverse=True)[1]
    else:
        found = read(name)
        vectors, codes = found.vectors, found.labels
        drawn = len(found.class_names) // 5
    whole = Population(vectors, altered(name, vectors), codes, drawn)
    rng = np.random.default_rng(seed)
    sizes, effective = whole.sizes, whole.run.report.intervals.effective_classes
    at = whole.run.recommend(max_far=FARS[0], prefer="low-frr").threshold
    print(
        f"{name}: {drawn} of {len(sizes)} classes of {sizes.min()} to {sizes.max()} rows; in "
        f"effect {carriers_of_far(whole.run.counts, at):.0f} classes carry FAR {FARS[0]:.1%}, "
        f"{effective.opis:.0f} OPIS, {effective.eps_opis:.0f} 10%-OPIS, "
        f"{whole.run.report.opis_corrected.effective_classes:.0f} OPIS less noise",
        flush=True,
    )
    return [
        judge(whole, *whole.evaluate(rng.choice(len(sizes), drawn, replace=False), draw), draw)
        for draw in range(draws)
    ]


def cell(misses: list[int]) -> str:
    """Coverage in percent, and how often the truth was above the interval."""
    if not misses:
        return "–"
    seen = np.array(misses)
    return f"{100 * np.mean(seen == 0):.0f} % ({100 * np.mean(seen > 0):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="files of embeddings, or names of sets")
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    names = asked.files or list(SETS)
    with ProcessPoolExecutor(asked.processes) as pool:
        run = partial(simulate, draws=asked.draws, seed=asked.seed)
        found = dict(zip(names, pool.map(run, names), strict=True))
    figures = dict.fromkeys(figure for draws in found.values() for one in draws for figure in one)
    print(f"\n| 95 % intervals of | {' | '.join(Path(name).name for name in names)} |")
    print("|---" * (len(names) + 1) + "|")
    for figure in figures:
        cells = [cell([one[figure] for one in found[name] if figure in one]) for name in names]
        print(f"| {figure} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
