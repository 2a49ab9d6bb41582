"""Write and read the plan of a count in parts, and the parts that jobs count by it.

A plan is JSON, with all that jobs must agree on: the settings, the grid, the engine, the side of
its tiles, and a digest of the work. A part has a tally, as arrays, and a copy of its plan. Parts
belong together if their plans are the same, byte by byte. Nothing is ever unpickled.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import opis_cli
from opis_cli.counting import store
from opis_cli.counting.counts_file import grid_fits
from opis_cli.counting.tally import Tally
from opis_cli.errors import OpisError, RunError
from opis_cli.files import replacing, write_text
from opis_cli.records import Grid
from opis_cli.settings import Settings
from opis_cli.text import plain

_FORMAT = 1
"""Version of the keys of a plan."""
_TALLY = tuple(Tally.__dataclass_fields__)


@dataclass(frozen=True, slots=True, eq=False)
class PlanFile:
    """What the jobs of a count in parts agree on.

    Attributes
    ----------
    source : tuple of str
        The source as it was given: paths, patterns or addresses.
    settings : Settings
        The settings as they were given.
    engine : str
        Name of the engine that counts.
    side : int
        Rows on a side of the engine's tiles.
    pairs : int
        Number of pairs to count.
    work : str
        Digest of the work, by ``work_of``.
    attempt : int
        Number of this grid among those that were tried, from 1.
    grid : Grid
    """

    source: tuple[str, ...]
    settings: Settings
    engine: str
    side: int
    pairs: int
    work: str
    attempt: int
    grid: Grid

    @property
    def text(self) -> str:
        """The content of the file."""
        facts = {
            "opis_plan": _FORMAT,
            "opis_version": opis_cli.__version__,
            "source": self.source,
            "settings": asdict(self.settings),
            "engine": self.engine,
            "side": self.side,
            "pairs": self.pairs,
            "work": self.work,
            "attempt": self.attempt,
            "window": self.grid.window,
            "thresholds": self.grid.thresholds.tolist(),
            "by_class": self.grid.by_class.tolist(),
        }
        # Each key stands on a line, which JSON with an indent does to each threshold too.
        lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    def write(self, file: Path) -> None:
        """Write the plan.

        Raises
        ------
        RunError
            The file cannot be written.
        """
        write_text(file, self.text)

    @classmethod
    def read(cls, file: Path) -> "PlanFile":
        """Read a plan.

        Raises
        ------
        RunError
            There is no plan, it is damaged, or another opis made it.
        """
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            raise RunError(
                f"{file}: cannot be read ({error.strerror or error}); make a plan with "
                "`opis count SOURCE --plan-only -o PLAN`"
            ) from None
        except ValueError:
            raise _no_plan(file) from None
        return cls.parse(text, file)

    @classmethod
    def parse(cls, text: str, file: Path) -> "PlanFile":
        """Read a plan from its text. ``file`` is where it stood."""
        try:
            facts = json.loads(text)
            version = plain(str(facts["opis_version"]), 20)
            if version != opis_cli.__version__:
                raise RunError(
                    f"{file}: planned by opis {version}, and this is {opis_cli.__version__}, which "
                    "may count otherwise; use one version for the plan, its parts and their merge"
                )
            thresholds = np.array(facts["thresholds"], np.float64)
            grid = Grid(thresholds, _whole(facts["window"]), np.array(facts["by_class"], np.int64))
            if facts["opis_plan"] != _FORMAT or not grid_fits(grid):
                raise ValueError("grid")
            return cls(
                source=tuple(map(str, facts["source"])),
                settings=Settings(**facts["settings"]),
                engine=str(facts["engine"]),
                side=_whole(facts["side"]),
                pairs=_whole(facts["pairs"]),
                work=str(facts["work"]),
                attempt=_whole(facts["attempt"]),
                grid=grid,
            )
        except RunError:
            raise
        except (OpisError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
            raise _no_plan(file) from None


def _whole(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("no whole number")
    return value


def _no_plan(file: Path) -> RunError:
    return RunError(
        f"{file}: no plan, or a damaged one; make it with `opis count SOURCE --plan-only -o PLAN`"
    )


@dataclass(frozen=True, slots=True)
class PartHead:
    """What a part says of itself.

    Attributes
    ----------
    file : Path
    plan : str
        Text of its plan.
    number, of : int
        It is part ``number`` of ``of``, from 1.
    """

    file: Path
    plan: str
    number: int
    of: int

    @classmethod
    def read(cls, file: Path) -> "PartHead":
        """Read what a part says of itself, without its counts.

        Raises
        ------
        RunError
            There is no part, or it is damaged.
        """
        arrays = _read(file, ("plan", "number", "of"))
        try:
            packed = arrays["plan"]
            number, of = int(arrays["number"]), int(arrays["of"])
            if packed.dtype != np.uint8 or not 1 <= number <= of:
                raise ValueError("numbers")
            return cls(file, packed.tobytes().decode(), number, of)
        except (ValueError, LookupError, TypeError):
            raise _no_part(file) from None

    def tally(self) -> Tally:
        """Read the counts. Their shapes are not checked.

        Raises
        ------
        RunError
            The file is damaged.
        """
        arrays = _read(self.file, _TALLY)
        if set(arrays) != set(_TALLY):
            raise _no_part(self.file)
        return Tally(**arrays)


def write_part(file: Path, plan: PlanFile, number: int, of: int, tally: Tally) -> None:
    """Write a part in one step, so that the file is whole or not there.

    Raises
    ------
    RunError
        The file cannot be written.
    """
    head = {"plan": np.frombuffer(plan.text.encode(), np.uint8), "number": number, "of": of}
    with replacing(file) as scratch, scratch.open("wb") as stream:
        store.write(stream, head | {name: getattr(tally, name) for name in _TALLY})


def _read(file: Path, names: tuple[str, ...]) -> dict[str, Any]:
    try:
        return store.read(file, names)
    except OSError as error:
        raise RunError(f"{file}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        raise _no_part(file) from None


def _no_part(file: Path) -> RunError:
    return RunError(f"{file}: no part of a count, or a damaged one; delete it and count it again")
