"""Files are written whole or not at all, and where they are sent; kills leave nothing for long."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from opis_cli import files
from opis_cli.errors import RunError
from opis_cli.files import replacing, write_text

NULL = Path("/dev/null")
KILLED = """
import os, signal, sys
from pathlib import Path
from opis_cli import files

target, when = Path(sys.argv[1]), sys.argv[2]
if when == "between":
    def half(new, path, old):
        path.rename(old)
        os.kill(os.getpid(), signal.SIGKILL)
    files._exchange = half
with files.replacing(target, folder=when == "between") as new:
    new.mkdir() if when == "between" else new.write_text("half")
    if when == "writing":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(target, when):
    done = subprocess.run([sys.executable, "-c", KILLED, str(target), when], check=False)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_process_left_goes_with_the_next_file(tmp_path):
    (tmp_path / "report").write_text("old")
    killed(tmp_path / "report", "writing")
    assert len(list(tmp_path.glob(".opis-*"))) == 1
    assert (tmp_path / "report").read_text() == "old"
    write_text(tmp_path / "other", "new")
    assert {file.name for file in tmp_path.iterdir()} == {"report", "other"}


def test_a_folder_that_was_being_replaced_comes_back(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report").write_text("old")
    killed(tmp_path / "run", "between")
    assert not (tmp_path / "run").exists()
    write_text(tmp_path / "other", "new")
    assert (tmp_path / "run" / "report").read_text() == "old"
    assert {file.name for file in tmp_path.iterdir()} == {"run", "other"}


def test_the_folder_of_a_process_that_still_writes_is_left_alone(tmp_path):
    with replacing(tmp_path / "slow") as slow:
        slow.write_text("slow")
        write_text(tmp_path / "quick", "quick")
    assert (tmp_path / "slow").read_text() == "slow"
    assert {file.name for file in tmp_path.iterdir()} == {"slow", "quick"}


def test_a_folder_of_another_program_is_left_alone(tmp_path):
    (tmp_path / ".opis-mine").mkdir()
    (tmp_path / ".opis-mine" / "work").write_text("mine")
    write_text(tmp_path / "file", "new")
    assert (tmp_path / ".opis-mine" / "work").read_text() == "mine"


@pytest.mark.parametrize("swaps", [True, False])
def test_a_folder_takes_the_place_of_another(swaps, tmp_path, monkeypatch):
    if not swaps:
        monkeypatch.setattr(files, "_swap", lambda one, other: False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_text("old")
    with replacing(tmp_path / "run", folder=True) as new:
        new.mkdir()
        (new / "new").write_text("new")
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_link_stays_and_what_it_points_to_changes(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_the_mode_of_a_file_stays(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o640)
    write_text(tmp_path / "file", "new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_fifo_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "fifo").read_text()))
    reader.start()
    write_text(tmp_path / "fifo", "text")
    reader.join(timeout=10)
    assert read == ["text"] and stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_a_device_stays_one(tmp_path):
    before = NULL.stat().st_rdev
    write_text(NULL, "text")
    assert NULL.stat().st_rdev == before
    with pytest.raises(RunError, match="No space left"):
        write_text(Path("/dev/full"), "text")


def test_a_name_that_is_not_utf_8_is_written_as_one_that_is(tmp_path):
    write_text(tmp_path / "file", "n\udcff")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "n?"
