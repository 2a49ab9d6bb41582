"""The report: frozen records, which ``report_json.py`` writes and reads.

Field names are those of ``report.json``; ``report.schema.json`` beside this file describes them.
Rates and utilities lie in [0, 1], thresholds are distances of ``settings["metric"]``.
"""

from dataclasses import dataclass
from typing import Any, Literal

from opis_cli.scoring.deployed import Deployed, WorstClass
from opis_cli.scoring.inequity import Differentials
from opis_cli.scoring.operating import OperatingPoint
from opis_cli.scoring.opis import EpsOpis, OpisBy
from opis_cli.scoring.pooled import EqualError, OpenSet
from opis_cli.scoring.recommend import Recommendation
from opis_cli.statistics.held_out import HeldOut
from opis_cli.statistics.intervals import Intervals
from opis_cli.statistics.noise import OpisCorrected

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What was read."""

    path: str
    sha256: str
    labels_sha256: str | None
    rows: int
    dim: int | None
    classes: int
    evaluable_classes: int
    singleton_classes: int
    dropped_rows: int
    group_column: str | None = None
    gallery_rows: int | None = None
    gallery_sha256: str | None = None

    @property
    def one(self) -> str:
        """What to call that which figures are by."""
        return "class" if self.group_column is None else "group"

    @property
    def many(self) -> str:
        """The same in the plural."""
        return "classes" if self.group_column is None else "groups"


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many pairs there are, and whether all of them were counted."""

    genuine: int
    impostor: int
    exhaustive: bool
    excluded: int = 0


@dataclass(frozen=True, slots=True)
class CalibrationRange:
    """The range of thresholds that consistency is judged over."""

    by: Literal["far", "frr", "distance"]
    low: float
    high: float
    threshold_low: float | None
    threshold_high: float | None
    points: int
    contains_recommendation: bool | None


@dataclass(frozen=True, slots=True)
class Sample:
    """What the classes of a sampled evaluation were drawn from."""

    max_pairs: int
    rows: int
    classes: int


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows that equal another one: how many, their pairs, and the numbers of the first."""

    rows: int
    pairs: int
    first: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent; ``write`` is 0 until a run is saved."""

    read: float
    count: float
    score: float
    write: float
    pairs_per_second: float


@dataclass(frozen=True, slots=True)
class Report:
    """Every score, setting and provenance of an evaluation."""

    schema_version: int
    opis_version: str
    created: str
    source: SourceFacts
    settings: dict[str, Any]
    pairs: Pairs
    calibration_range: CalibrationRange
    opis: float | None
    eps_opis: EpsOpis
    recall_at_1: float | None
    recommendation: Recommendation
    deployed: Deployed | None
    eer: EqualError
    operating_points: tuple[OperatingPoint, ...]
    worst_classes: tuple[WorstClass, ...]
    timings: Timings
    counts_sha256: str | None
    intervals: Intervals | None = None
    opis_corrected: OpisCorrected | None = None
    held_out: HeldOut | None = None
    differentials: Differentials | None = None
    sample: Sample | None = None
    open_set: OpenSet | None = None
    duplicates: Duplicates | None = None
    opis_by: OpisBy | None = None

    @property
    def counted(self) -> str:
        """What the size of a class or group is a number of."""
        if self.settings.get("pairs"):
            return "pairs"
        return "rows" if self.source.gallery_rows is None else "queries"
