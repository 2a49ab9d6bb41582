"""Count parts on a Dask cluster, with the numba engine on the workers.

Each worker reads the source itself and prepares the rows once. A task counts a part on one thread,
and its tally stays on the worker. The workers also add the tallies, in a tree, and only the sum
comes back. Tasks have no side effects. So if a worker is lost, another one counts its parts again,
and no pair is counted twice.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from distributed import Client, KilledWorker, LocalCluster, as_completed
from distributed.comm import CommClosedError

import opis_cli
from opis_cli.counting.engines import numba
from opis_cli.counting.parts import Opened, Part, counting_with
from opis_cli.counting.plan import Plan, plan_pairs
from opis_cli.counting.tally import Advance, Tally
from opis_cli.embeddings.clean import ARRAYS
from opis_cli.embeddings.read import read_as
from opis_cli.embeddings.sources import everywhere
from opis_cli.errors import RunError
from opis_cli.records import Embeddings, Grid
from opis_cli.settings import Settings

_LEAST_TASKS, _MOST_TASKS, _TASK_PAIRS = 3, 8, 500_000_000
"""Least and most tasks for each thread, and the pairs that a task should have between the two."""
_FAN_IN = 8
"""Tallies that one task adds."""
_SECONDS_TO_CONNECT, _SECONDS_FOR_WORKERS = 10, 60
"""Seconds to wait for the scheduler, and for its first worker."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a worker gets the plan: what it reads, and which digests the files must have.

    Attributes
    ----------
    paths : tuple of str
        Files or addresses of the embeddings.
    settings : Settings
    digests : tuple of (str or None)
    version : str
        Version of opis that the workers must have too.
    """

    paths: tuple[str, ...]
    settings: Settings
    digests: tuple[str | None, ...]
    version: str = opis_cli.__version__

    @classmethod
    def of(cls, embeddings: Embeddings, settings: Settings) -> "Recipe":
        """Make the recipe for embeddings whose files all workers can read."""
        paths = ("labels", "gallery", "gallery_labels")
        there = {name: getattr(settings, name) for name in paths}
        there = {name: everywhere(path) for name, path in there.items() if path is not None}
        source = embeddings.source
        given = tuple(everywhere(path) for path in source.parts or (source.path,))
        return cls(given, replace(settings, **there), source.digests)

    def plan(self) -> Plan:
        """Return the plan; read and prepare it only if this worker does not have it yet."""
        with _lock:
            if self not in _prepared:
                _prepared.clear()
                _prepared[self] = self._read()
            return _prepared[self]

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


# The plan of the latest recipe on this worker, with its rows. All threads of the worker share it.
_prepared: dict["Recipe", Plan] = {}
_lock = threading.Lock()


def _count_part(
    client: Client,
    recipe: Recipe | None,
    plan: Plan,
    grid: Grid,
    part: Part,
    tally: Tally,
    advance: Advance,
) -> None:
    """Add the pairs of a part to the tally. Tasks count parts of this part.

    Without a recipe, the plan is sent to each worker, with its rows.

    Raises
    ------
    RunError
        Workers kept dying, or the scheduler went away.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    source = recipe or client.scatter(plan, broadcast=True, hash=False)
    parts = part.divided(_tasks(part.pairs, sum(worker["nthreads"] for worker in workers)))
    parts = [part for part in parts if part.pairs]
    counted = [client.submit(_count, source, grid, part, pure=False) for part in parts]
    pairs = {future.key: part.pairs for future, part in zip(counted, parts, strict=True)}
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


def _tasks(pairs: int, threads: int) -> int:
    """Return how many tasks to make.

    More tasks share the work more evenly and lose less with a worker, but each one costs the memory
    of a tally.
    """
    each = pairs // threads // _TASK_PAIRS
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
    # A worker cannot change the rows by a remedy, so it is sent those that are changed.
    sent = embeddings.source.path == ARRAYS or embeddings.source.remedy is not None
    recipe = None if sent else Recipe.of(embeddings, settings)
    with connected(settings.scheduler, threads) as client:
        side = numba.side_for(len(embeddings.labels))
        yield Opened(side, partial(_count_part, client, recipe))


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


def _count(source: Recipe | Plan, grid: Grid, part: Part) -> Tally:
    """Count a part; runs on a worker."""
    plan = source.plan() if isinstance(source, Recipe) else source
    tally = plan.empty_tally(grid)
    counting_with(numba.count_pairs, 1)(plan, grid, part, tally, lambda pairs: None)
    return tally


def _add(tallies: list[Tally]) -> Tally:
    """Return the sum of tallies; runs on a worker.

    The tallies stay unchanged, because Dask may use them again.
    """
    total = tallies[0].copy()
    for tally in tallies[1:]:
        total.add(tally)
    return total
