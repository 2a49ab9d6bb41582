"""Count pairs on a Dask cluster. This module wraps an engine and runs it on the workers.

Each worker reads the source itself and prepares the rows once. A task counts some tiles on one
thread, and its tally stays on the worker. The workers also add the tallies, in a tree, and only the
sum comes back. Tasks have no side effects. So if a worker is lost, another one counts its tiles
again, and no pair is counted twice.
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
"""Least and most tasks for each thread, and the pairs that a task should have between the two."""
_FAN_IN = 8
"""Tallies that one task adds."""
_SECONDS_TO_CONNECT, _SECONDS_FOR_WORKERS = 10, 60
"""Seconds to wait for the scheduler, and for its first worker."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a worker gets the rows of a pass: what it reads, and which digests the files must have.

    Attributes
    ----------
    paths : tuple of str
        Files or addresses of the embeddings.
    settings : Settings
    part : int
        Number of the pass in the plan.
    digests : tuple of (str or None)
    version : str
        Version of opis that the workers must have too.
    """

    paths: tuple[str, ...]
    settings: Settings
    part: int
    digests: tuple[str | None, ...]
    version: str = opis_cli.__version__

    @classmethod
    def of(cls, embeddings: Embeddings, settings: Settings, part: int) -> "Recipe":
        """Make the recipe for a pass over embeddings whose files all workers can read."""
        paths = ("labels", "gallery", "gallery_labels")
        there = {name: getattr(settings, name) for name in paths}
        there = {name: everywhere(path) for name, path in there.items() if path is not None}
        source = embeddings.source
        given = tuple(everywhere(path) for path in source.parts or (source.path,))
        return cls(given, replace(settings, **there), part, source.digests)

    def rows(self) -> Rows:
        """Return the rows; read and prepare them only if this worker does not have them yet."""
        with _lock:
            # All passes share one plan, so the number of the pass must not be part of the key.
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


# The plan, with its rows, of the latest recipe on this worker. All threads of the worker share it.
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
        Client of the cluster.
    recipe : Recipe, optional
        How workers get the rows. Without a recipe, all rows are sent to each worker once.

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
    # The list would keep every tally alive. Without it, a tally is freed as soon as it is added.
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
    """Return how many tasks to make.

    More tasks share the work more evenly and lose less with a worker, but each one costs the memory
    of a tally.
    """
    each = sum(tile.pairs for tile in tiles) // threads // _TASK_PAIRS
    return threads * min(max(each, _LEAST_TASKS), _MOST_TASKS)


def _sum(client: Client, tallies: Sequence[Any]) -> Any:
    """Return the future of the sum of tallies, which workers add a few at a time."""
    while len(tallies) > 1:
        tallies = [
            client.submit(_add, tallies[start : start + _FAN_IN], pure=False)
            for start in range(0, len(tallies), _FAN_IN)
        ]
    return tallies[0]


@contextmanager
def opened(embeddings: Embeddings, settings: Settings, threads: int) -> Iterator[Opened]:
    """Open the cluster that the settings name. Its workers read the files themselves."""
    with connected(settings.scheduler, threads) as client:

        def of_pass(number: int) -> CountPairs:
            in_memory = embeddings.source.path == ARRAYS
            recipe = None if in_memory else Recipe.of(embeddings, settings, number)
            return partial(count_pairs, client=client, recipe=recipe)

        yield Opened(TILE_SIDE, of_pass)


@contextmanager
def connected(scheduler: str | None, threads: int) -> Iterator[Client]:
    """Connect to the cluster at an address, or to a local one that ends with the context.

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
        # The user need not hear of a worker that is slow to end.
        silence_logs=logging.ERROR,
    )


def _count(source: Recipe | Rows, grid: Grid, tiles: list[Tile]) -> Tally:
    """Count some tiles; runs on a worker."""
    rows = source.rows() if isinstance(source, Recipe) else source
    tally = Tally.empty(rows, grid)
    numba.count_pairs(rows, grid, tiles, tally, 1, lambda pairs: None)
    return tally


def _add(tallies: list[Tally]) -> Tally:
    """Return the sum of tallies; runs on a worker.

    The tallies stay unchanged, because Dask may use them again.
    """
    total = tallies[0].copy()
    for tally in tallies[1:]:
        total.add(tally)
    return total
