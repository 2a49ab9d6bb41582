"""Keep partial counts on disk, so that a count that was killed can go on.

A checkpoint holds the tally of the tiles counted so far, the number of these tiles, and the grid
they were counted on. Nothing else is needed, because tallies add up. The final counts equal those
of a run without interruption.
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
_LAYOUT = 3
"""Version of the arrays in the file.

Raise it when the arrays of a tally change. An older checkpoint then counts as other work, and
nothing is added to it.
"""


@dataclass(frozen=True, slots=True)
class Begun:
    """A count that was begun: its grid, its tally, and the number of tiles counted so far."""

    grid: Grid
    tally: Tally
    tiles: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder for the partial counts of one piece of work.

    Attributes
    ----------
    folder : Path
    work : str
        Digest of everything that changes the counts. It tells this work from other work.
    """

    folder: Path
    work: str

    @classmethod
    def of(
        cls, folder: str, embeddings: Embeddings, settings: Settings, engine: str, side: int
    ) -> "Checkpoint":
        """Make the checkpoint for counting these embeddings with these settings.

        Parameters
        ----------
        folder : str
        embeddings : Embeddings
        settings : Settings
        engine : str
            Name of the engine that counts.
        side : int
            Rows on a side of its tiles. It is part of the work, because it depends on the device.
        """
        facts = {name: getattr(settings, name) for name in ABOUT if ABOUT[name].changes_counts}
        facts["engine"] = engine
        digests = embeddings.source.digests
        text = json.dumps([_LAYOUT, facts, digests, side, embeddings.dropped_rows])
        return cls(Path(folder), hashlib.sha256(text.encode()).hexdigest())

    def save(self, begun: Begun) -> None:
        """Write the partial counts, in the place of those written before, in one step."""
        arrays = {name: getattr(begun.tally, name) for name in Tally.__dataclass_fields__}
        with replacing(self.folder / _FILE) as scratch, scratch.open("wb") as stream:
            facts = {"work": self.work, "tiles": begun.tiles}
            store.write(stream, facts | grid_arrays(begun.grid) | arrays)

    def load(self) -> Begun | None:
        """Return the count that was begun, or None if the folder holds none yet.

        Raises
        ------
        RunError
            The file is damaged, or belongs to other work.
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
        """Remove the partial counts once the work is done, and the folder if it is empty then."""
        (self.folder / _FILE).unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
