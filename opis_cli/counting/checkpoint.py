"""Partial counts on disk, from which a count that was killed goes on.

A checkpoint is the tally of the first so many tiles, and the grid they were counted on. Tallies
add, so nothing else is needed; the counts are those of a run without interruption.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from opis_cli.counting import store
from opis_cli.counting.counts_file import grid_arrays, grid_of
from opis_cli.counting.tally import Tally
from opis_cli.errors import RunError
from opis_cli.files import replacing
from opis_cli.records import Embeddings, Grid
from opis_cli.settings import ABOUT, Settings

_FILE = "partial-counts.npz"
_LAYOUT = 2
"""To be raised when a tally's arrays change, so that older ones are not added to."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A count that was begun: its grid, and the tally of its first so many tiles."""

    grid: Grid
    tally: Tally
    tiles: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder for the partial counts of one piece of work, named by ``work``."""

    folder: Path
    work: str

    @classmethod
    def of(
        cls, folder: str, embeddings: Embeddings, settings: Settings, engine: str, side: int
    ) -> "Checkpoint":
        """The checkpoint of counting these embeddings with these settings.

        ``engine`` is the one that counts, in tiles of ``side`` rows, which depends on the device.
        """
        facts = {name: getattr(settings, name) for name in ABOUT if ABOUT[name].changes_counts}
        facts["engine"] = engine
        digests = embeddings.source.digests
        text = json.dumps([_LAYOUT, facts, digests, side, embeddings.dropped_rows])
        return cls(Path(folder), hashlib.sha256(text.encode()).hexdigest())

    def save(self, begun: Begun) -> None:
        """Keep what is counted; what was kept before is replaced at once."""
        arrays = {name: getattr(begun.tally, name) for name in Tally.__dataclass_fields__}
        with replacing(self.folder / _FILE) as scratch, scratch.open("wb") as stream:
            facts = {"work": self.work, "tiles": begun.tiles}
            store.write(stream, facts | grid_arrays(begun.grid) | arrays)

    def load(self) -> Begun | None:
        """What was begun; None where nothing is kept yet.

        Raises
        ------
        RunError
            It is damaged, or of other work.
        """
        file = self.folder / _FILE
        try:
            arrays = store.read(file)
            if str(arrays["work"]) != self.work:
                raise RunError(
                    f"--checkpoint {self.folder}: has partial counts of other embeddings or "
                    "settings; choose another folder, or delete it"
                )
            tally = Tally(**{name: arrays[name] for name in Tally.__dataclass_fields__})
            return Begun(grid_of(arrays), tally, int(arrays["tiles"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file}: damaged ({error}); delete it to start again") from None

    def clear(self) -> None:
        """The work is done: remove the partial counts, and the folder if nothing else is in it."""
        (self.folder / _FILE).unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
