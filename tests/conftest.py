"""Fixtures, and the rule that CI, where every optional part is installed, skips nothing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

# One thread a product: the cores have tests of their own to run. Before NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import data
import forked
import pytest
from hypothesis import settings

import opis_cli as opis
from opis_cli.counting.engines import is_installed

NUMERIC = {
    *("test_golden", "test_readme", "test_engines", "test_opis", "test_bootstrap"),
    *("test_intervals", "test_plan", "test_count", "test_torch", "test_thresholds"),
    "test_axis",
}
"""Files whose figures rest on products of matrices and compiled code: ``kernels.py`` runs them as
other processors would."""

LONGEST = ("test_caches", "test_readme", "test_engines", "test_commands")
"""Files to begin with, so that no process is left alone with one at the end."""

# The same examples every time: a red build can be seen again, on a busy machine too.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Tests see no CI but the one that they make: on GitHub, opis prints and writes more.
for variable in ("GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(variable, None)


def optional(engine: str):
    """A parameter, or a mark with ``.marks``, for tests of an engine that may not be installed."""
    missing = pytest.mark.skipif(
        not is_installed(engine), reason=f"needs pip install 'opis-cli[{engine}]'"
    )
    return pytest.param(engine, marks=[pytest.mark.optional, missing])


@pytest.fixture(scope="session")
def cluster():
    """A Dask cluster of two workers, processes of their own."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        host="127.0.0.1",
        silence_logs=50,
    ) as started:
        yield started


Cli = Callable[..., forked.Done]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run ``opis`` as a process of its own in an empty folder."""

    def run(*words: object, cwd: Path = tmp_path) -> forked.Done:
        return forked.opis(*words, cwd=cwd, env={"COLUMNS": "100"})

    return run


@pytest.fixture(scope="session")
def small() -> opis.Run:
    """A small run with a long tail and singletons."""
    return opis.evaluate(*data.MADE["long_tail"])


@pytest.fixture(scope="session")
def saved_once(small: opis.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, written to a folder that tests leave alone."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    small.save(folder)
    return folder


@pytest.fixture
def saved(saved_once: Path, tmp_path: Path) -> Path:
    """The small run, in a folder of the test's own."""
    return Path(shutil.copytree(saved_once, tmp_path / "run"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONGEST)
    for item in items:
        if item.path.stem in NUMERIC:
            item.add_marker(pytest.mark.numeric)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("OPIS_FAIL_ON_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped where every optional part is installed: {report.longrepr}"
