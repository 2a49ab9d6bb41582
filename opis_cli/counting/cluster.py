"""Not an engine but a wrapper: it runs one on the workers of a Dask cluster.

Each worker reads and prepares the rows once, from the source itself, counts some tiles at a time on
one thread, and keeps the tallies. Tallies are added on the workers too, in a tree; only the sum
comes back. Tasks have no side effects, so what a lost worker had counted is counted again by
another, and nothing twice.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from distributed import Client, KilledWorker, LocalCluster, as_completed
from distributed.comm import CommClosedError

import opis_cli
from opis_cli.counting.engines import numba
from opis_cli.counting.plan import Plan, plan_pairs
from opis_cli.counting.rows import Rows
from opis_cli.counting.tally import Advance, CountPairs, Opened, Tally, Tile
from opis_cli.embeddings.clean import ARRAYS
from opis_cli.embeddings.read import read_as
from opis_cli.embeddings.sources import everywhere
from opis_cli.errors import RunError
from opis_cli.records import Embeddings, Grid
from opis_cli.settings import Settings

TILE_SIDE = numba.TILE_SIDE
_LEAST_TASKS, _MOST_TASKS, _TASK_PAIRS = 3, 8, 500_000_000
_FAN_IN = 8
_SECONDS_TO_CONNECT, _SECONDS_FOR_WORKERS = 10, 60


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a worker comes by the rows of a pass: what to read, and the digests it must have."""

    paths: tuple[str, ...]
    settings: Settings
    part: int
    digests: tuple[str | None, ...]
    version: str = opis_cli.__version__

    @classmethod
    def of(cls, embeddings: Embeddings, settings: Settings, part: int) -> "Recipe":
        """The recipe for a pass over embeddings that were read from what all workers see."""
        paths = ("labels", "gallery", "gallery_labels")
        there = {name: getattr(settings, name) for name in paths}
        there = {name: everywhere(path) for name, path in there.items() if path is not None}
        source = embeddings.source
        given = tuple(everywhere(path) for path in source.parts or (source.path,))
        return cls(given, replace(settings, **there), part, source.digests)

    def rows(self) -> Rows:
        """Read and prepare the rows, or take those that this worker has."""
        with _lock:
            # All passes are made of the same rows.
            work = replace(self, part=0)
            if work not in _prepared:
                _prepared.clear()
                _prepared[work] = self._read()
            return _prepared[work].passes[self.part].rows

    def _read(self) -> Plan:
        if self.version != opis_cli.__version__:
            raise RunError(
                f"a worker has opis {opis_cli.__version__}, this is {self.version}; install the "
                "same on all"
            )
        embeddings = read_as(self.paths, self.settings)
        if embeddings.source.digests != self.digests:
            raise RunError(f"{' '.join(self.paths)}: a worker reads another file under this name")
        return plan_pairs(embeddings, self.settings)


# Plan and rows of the latest recipe on this worker; its threads share them.
_prepared: dict["Recipe", Plan] = {}
_lock = threading.Lock()


def count_pairs(
    rows: Rows,
    grid: Grid,
    tiles: Iterable[Tile],
    tally: Tally,
    threads: int,
    advance: Advance,
    *,
    client: Client,
    recipe: Recipe | None = None,
) -> None:
    """Count the pairs of tiles into the tally, on a cluster.

    Parameters
    ----------
    client : Client
        That of the cluster.
    recipe : Recipe, optional
        How workers come by the rows; without, each is sent all of them, once.

    Raises
    ------
    RunError
        Workers kept dying, or the scheduler went away.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    source = recipe or client.scatter(rows, broadcast=True, hash=False)
    todo = list(tiles)
    wanted = _tasks(todo, sum(worker["nthreads"] for worker in workers))
    parts = [todo[start::wanted] for start in range(min(wanted, len(todo)))]
    counted = [client.submit(_count, source, grid, part, pure=False) for part in parts]
    pairs = {
        future.key: sum(tile.pairs for tile in part)
        for future, part in zip(counted, parts, strict=True)
    }
    total, finished = _sum(client, counted), as_completed(counted)
    # From here on only the sum holds the tallies, so that each is let go once it is added.
    counted.clear()
    try:
        for future in finished:
            if future.status == "finished":
                advance(pairs[future.key])
            del future
        tally.add(total.result())
    except KilledWorker as error:
        raise RunError(
            f"a task took several workers down with it, most likely for memory ({error}); "
            "give workers more, or fewer threads each"
        ) from None
    except CommClosedError as error:
        raise RunError(f"the scheduler went away while pairs were counted ({error})") from None


def _tasks(tiles: list[Tile], threads: int) -> int:
    """How many tasks: enough to share the work evenly and to lose little with a worker, while each
    costs a tally."""
    each = sum(tile.pairs for tile in tiles) // threads // _TASK_PAIRS
    return threads * min(max(each, _LEAST_TASKS), _MOST_TASKS)


def _sum(client: Client, tallies: Sequence[Any]) -> Any:
    """The sum of tallies, added on the workers a few at a time."""
    while len(tallies) > 1:
        tallies = [
            client.submit(_add, tallies[start : start + _FAN_IN], pure=False)
            for start in range(0, len(tallies), _FAN_IN)
        ]
    return tallies[0]


@contextmanager
def opened(embeddings: Embeddings, settings: Settings, threads: int) -> Iterator[Opened]:
    """The cluster of the settings, ready to count; workers read files themselves."""
    with connected(settings.scheduler, threads) as client:

        def of_pass(number: int) -> CountPairs:
            in_memory = embeddings.source.path == ARRAYS
            recipe = None if in_memory else Recipe.of(embeddings, settings, number)
            return partial(count_pairs, client=client, recipe=recipe)

        yield Opened(TILE_SIDE, of_pass)


@contextmanager
def connected(scheduler: str | None, threads: int) -> Iterator[Client]:
    """A client of the cluster at an address, or of a local one that ends with the work.

    Raises
    ------
    RunError
        The scheduler does not answer, or has no workers.
    """
    with ExitStack() as stack:
        try:
            address = scheduler or stack.enter_context(_local_cluster(threads))
            client = stack.enter_context(Client(address, timeout=_SECONDS_TO_CONNECT))
            client.wait_for_workers(1, timeout=_SECONDS_FOR_WORKERS)
        except TimeoutError:
            raise RunError(f"--scheduler {scheduler}: it has no workers; start some") from None
        except OSError as error:
            raise RunError(
                f"--scheduler {scheduler}: no scheduler answers there ({error})"
            ) from None
        yield client


def _local_cluster(workers: int) -> LocalCluster:
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        # A worker that is slow to end is no concern of the user's.
        silence_logs=logging.ERROR,
    )


def _count(source: Recipe | Rows, grid: Grid, tiles: list[Tile]) -> Tally:
    """On a worker: count some tiles."""
    rows = source.rows() if isinstance(source, Recipe) else source
    tally = Tally.empty(rows, grid)
    numba.count_pairs(rows, grid, tiles, tally, 1, lambda pairs: None)
    return tally


def _add(tallies: list[Tally]) -> Tally:
    """On a worker: the sum, which leaves the parts as they are; they may be asked for again."""
    total = tallies[0].copy()
    for tally in tallies[1:]:
        total.add(tally)
    return total
