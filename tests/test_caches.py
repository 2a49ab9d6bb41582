"""Caches lie where they can be written, are never stale, and leave nothing behind elsewhere."""

import contextlib
import os
import pty
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import data
import numpy as np
import pytest
from conftest import optional

from opis_cli import caches
from opis_cli.counting import engines
from opis_cli.counting.count import count_pairs
from opis_cli.embeddings.clean import from_arrays
from opis_cli.settings import Settings

PACKAGE = Path(caches.__file__).parent
POWERLESS = (
    [],
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
    # Where another user cannot run the interpreter: root, bound by the modes of files.
    ["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
)


@pytest.fixture(scope="module")
def homeless():
    """Run Python as an ordinary user without a home, on a copy of the package that is read-only.

    What this copy compiles stays among the temporary files of this user until the end.
    """
    # Other users cannot enter pytest's own folders.
    root = Path(tempfile.mkdtemp(prefix="opis-test-"))
    shutil.copytree(PACKAGE, root / "lib/opis_cli", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (root / "tmp", root / "cwd"):
        folder.mkdir()
        folder.chmod(0o1777)
    vectors, labels = data.blobs(5_000, 50, 8)
    np.savez(root / "rows.npz", embeddings=vectors, labels=labels)
    for path in (root, *(root / "lib").rglob("*"), root / "lib"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    usual = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    places = {"HOME": "/nonexistent", "TMPDIR": str(root / "tmp"), "PYTHONPATH": str(root / "lib")}

    def run(*words, become=(), **variables):
        return subprocess.run(
            [*(become or run.become), sys.executable, "-P", *map(str, words)],
            cwd=root / "cwd",
            env=usual | places | {"PYTHONDONTWRITEBYTECODE": "1"} | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def is_bound(become):
        try:
            write = run("-c", "import os; open(os.environ['FILE'], 'w')", become=become, FILE=there)
            return "PermissionError" in write.stderr
        except OSError:
            return False

    run.root, run.become, there = root, (), str(root / "lib/opis_cli/new")
    run.become = next(filter(is_bound, POWERLESS), None)
    yield run
    root.chmod(0o755)
    for path in (root / "lib", *(path for path in (root / "lib").rglob("*") if path.is_dir())):
        path.chmod(0o755)
    shutil.rmtree(root)


def of_a_homeless(run, *words, **variables):
    if run.become is None:
        pytest.skip("no way to become a user who cannot write the package")
    done = run(*words, **variables)
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_without_a_home_more_than_ten_million_pairs_are_counted(homeless):
    root = homeless.root
    shown = of_a_homeless(homeless, "-m", "opis_cli", "evaluate", root / "rows.npz")
    assert "of 12,247,067;" in shown
    assert list((root / "cwd").iterdir()) == []
    (own,) = (root / "tmp").iterdir()
    assert own.name.startswith("opis-") and stat.S_IMODE(own.stat().st_mode) == 0o700
    compiled = [file.stat().st_mtime_ns for file in sorted(own.rglob("*.nbc"))]
    assert compiled
    # What was compiled is used again, and a picture asks for no other folder.
    out = root / "tmp" / "run"
    of_a_homeless(homeless, "-m", "opis_cli", "evaluate", root / "rows.npz", "--out", out)
    of_a_homeless(homeless, "-m", "opis_cli", "plot", out, "-o", root / "tmp" / "picture.png")
    assert compiled == [file.stat().st_mtime_ns for file in sorted(own.rglob("*.nbc"))]
    assert list((root / "cwd").iterdir()) == []
    assert {path.name for path in (root / "tmp").iterdir()} == {own.name, "run", "picture.png"}


def test_where_nothing_can_be_written_code_is_compiled_and_not_kept(homeless):
    code = (
        # Python takes the working directory where no other can be written.
        "import os, tempfile; tempfile.tempdir = os.getcwd()\n"
        "import opis_cli, numpy\n"
        "from opis_cli.counting.engines import numba_cache, numba_tables\n"
        "@numba_tables.compiled\n"
        "def more(x):\n    return x + 1\n"
        "print(numba_cache.FOLDER, more(2), type(more._cache).__name__)"
    )
    assert of_a_homeless(homeless, "-c", code) == "None 3 NullCache\n"
    assert list((homeless.root / "cwd").iterdir()) == []


def test_an_edited_kernel_is_not_run_from_what_the_old_one_compiled(tmp_path):
    """Numba looks at the file of the outermost function alone: ``scan``, not ``cell_of``."""
    engines = tmp_path / "opis_cli/counting/engines"
    shutil.copytree(PACKAGE, tmp_path / "opis_cli", ignore=shutil.ignore_patterns("__pycache__"))
    vectors, labels = data.blobs(200, 8)
    np.savez(tmp_path / "rows.npz", embeddings=vectors, labels=labels)
    code = (
        "import opis_cli\n"
        "counts = opis_cli.evaluate('rows.npz', engine='numba').counts\n"
        "print(counts.genuine.sum(), counts.genuine_total)"
    )

    variables = os.environ | {"PYTHONPATH": str(tmp_path)}
    variables.pop("NUMBA_CACHE_DIR", None)

    def counted():
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    whole = counted()
    assert counted() == whole
    helper = engines / "numba_tables.py"
    next_cell = "cell + np.uint32(cell + np.uint32(1) < np.uint32(cuts.size))\n"
    old = "    if compares is None:\n        return cell\n"
    assert helper.read_text().count(old) == 1
    helper.write_text(helper.read_text().replace(old, old.replace("cell\n", next_cell)))
    edited = counted()
    assert edited != whole and edited.split()[1] == whole.split()[1]
    assert len(list((engines / "__pycache__").glob("compiled-*"))) == 2


def test_compiling_is_announced_on_a_terminal_where_nothing_is_kept_yet(tmp_path):
    vectors, labels = data.blobs(300, 8)
    np.savez(tmp_path / "rows.npz", embeddings=vectors, labels=labels)

    def told(*words):
        """What a terminal shows that is standard error."""
        opis = [sys.executable, "-m", "opis_cli", "evaluate", "rows.npz", "--engine", "numba"]
        variables = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "TERM": "xterm"}
        here, there = pty.openpty()
        process = subprocess.Popen(
            [*opis, *words], cwd=tmp_path, env=variables, stdout=subprocess.DEVNULL, stderr=there
        )
        os.close(there)
        shown = b""
        while True:
            try:
                part = os.read(here, 4_096)
            except OSError:
                break
            if not part:
                break
            shown += part
        os.close(here)
        assert process.wait() == 0
        return shown.decode()

    line = "compiling the counting code, once on this machine: some ten seconds"
    assert told().count(line) == 1
    # A bar may come where the machine is busy.
    assert line not in told()
    shutil.rmtree(tmp_path / "kept")
    assert told("--quiet") == ""


@pytest.mark.parametrize("engine", ["numpy", "numba", optional("torch")])
def test_compiling_for_halves_is_announced_whatever_counted_all(engine, monkeypatch):
    asked = []

    @contextlib.contextmanager
    def announced(engine, announce):
        asked.append(engine)
        yield

    monkeypatch.setattr(engines, "announced", announced)
    count_pairs(from_arrays(*data.blobs(300, 8)), Settings(engine=engine))
    assert asked == [engine, "numpy" if engine == "numpy" else "numba"]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A home, a cache folder beside it, and temporary files, all of the test's own."""
    for name in ("home", "tmp", "cwd"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path


def not_writable(folder):
    """A path that nobody can make a folder of, root neither."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("")
    return folder


def test_the_first_folder_that_can_be_written_is_taken(places, monkeypatch):
    package = places / "package" / "__pycache__"
    assert caches.folder("code", "1", package) == package / "code-1"
    assert not [*(places / "home").iterdir(), *(places / "tmp").iterdir()]
    shutil.rmtree(package)
    not_writable(package)
    assert caches.folder("code", "1", package) == places / "home/.cache/opis/code-1"
    assert stat.S_IMODE((places / "home/.cache/opis").stat().st_mode) == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", str(places / "xdg"))
    assert caches.folder("code", "1", package) == places / "xdg/opis/code-1"
    monkeypatch.setenv("XDG_CACHE_HOME", str(not_writable(places / "file")))
    temporary = places / "tmp" / f"opis-{os.getuid()}"
    assert caches.folder("code", "1", package) == temporary / "code-1"
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
    monkeypatch.setattr(tempfile, "tempdir", str(places / "cwd"))
    assert caches.folder("code", "1", package) is None
    assert list((places / "cwd").iterdir()) == []


def test_a_full_disk_is_none_that_can_be_written(places):
    """Numba writes while it counts: what it cannot write then would end the count."""
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, most))
    try:
        assert caches.folder("code", "1", places / "package") is None
        assert not list(places.rglob("code-*"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
    assert caches.folder("code", "1", places / "package") == places / "package/code-1"


def test_code_without_a_file_is_compiled_and_not_kept():
    from opis_cli.counting.engines.numba_cache import compiler

    space = {}
    exec(compile("def more(x):\n    return x + 1", "<nowhere>", "exec"), space)
    assert compiler()(space["more"])(2) == 3


@pytest.mark.parametrize("home", ["", "/", "relative", "/nonexistent"])
def test_a_home_that_is_none_is_not_made(places, monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert caches.folder("code", "1") == places / "tmp" / f"opis-{os.getuid()}" / "code-1"
    assert list((places / "cwd").iterdir()) == []
    assert not Path("/nonexistent").exists() and not Path("/.cache/opis").exists()


@pytest.mark.parametrize("foul", ["open", "link", "foreign"])
def test_a_folder_that_others_can_write_is_not_used(places, monkeypatch, foul):
    """What lies in it would be run."""
    monkeypatch.setenv("HOME", "/nonexistent")
    temporary = places / "tmp" / f"opis-{os.getuid()}"
    if foul == "link":
        (places / "elsewhere").mkdir(mode=0o700)
        temporary.symlink_to(places / "elsewhere")
    else:
        temporary.mkdir(mode=0o700)
    if foul == "open":
        temporary.chmod(0o770)
    if foul == "foreign":
        other = os.getuid() + 1
        temporary.rename(temporary.with_name(f"opis-{other}"))
        monkeypatch.setattr(os, "getuid", lambda: other)
    assert caches.folder("code", "1") is None


def test_caches_used_long_ago_are_deleted(places):
    made = [caches.folder("code", str(n), places / "package") for n in range(4)]
    other = caches.folder("other", "1", places / "package")
    for age, path in enumerate([other, *made]):
        os.utime(path, (1e9 + age, 1e9 + age))
    # The first is used again, so the second is the oldest.
    caches.folder("code", "0", places / "package")
    caches.folder("code", "4", places / "package")
    assert [path.exists() for path in made] == [True, False, True, True]
    assert other.exists()


def test_a_key_changes_with_names_bytes_and_facts(tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("a")
    two.write_text("b")
    keys = {caches.key_of([one, two], "1.0")}
    assert caches.key_of([two, one], "1.0") in keys
    keys.add(caches.key_of([one, two], "1.1"))
    keys.add(caches.key_of([one], "1.0"))
    one.write_text("c")
    keys.add(caches.key_of([one, two], "1.0"))
    assert len(keys) == 4


def test_matplotlib_keeps_its_own_folder_where_it_has_one(places, monkeypatch):
    caches.find_folder_for_matplotlib()
    assert "MPLCONFIGDIR" not in os.environ
    assert list((places / "home").iterdir()) == [], "nothing is made that is not needed"
    monkeypatch.setenv("XDG_CACHE_HOME", str(not_writable(places / "file") / "below"))
    caches.find_folder_for_matplotlib()
    temporary = places / "tmp" / f"opis-{os.getuid()}"
    assert os.environ["MPLCONFIGDIR"] == str(temporary / "matplotlib")
    monkeypatch.setenv("MPLCONFIGDIR", str(places / "file"))
    caches.find_folder_for_matplotlib()
    assert os.environ["MPLCONFIGDIR"] == str(temporary / "matplotlib")
