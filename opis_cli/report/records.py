"""The report: frozen records, which ``report_json.py`` writes and reads.

Field names are those of ``report.json``; ``report.schema.json`` beside this file describes them.
Rates and utilities lie in [0, 1], thresholds are distances of ``settings["metric"]``.
"""

from dataclasses import dataclass
from typing import Any, Literal

from opis_cli.quantities import Amount, Count, Digest, Several, Share, Some
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
    """What was read.

    Attributes
    ----------
    path : str
        File, folder, pattern or address as it was given; '<arrays>' for arrays.
    sha256 : str
        Digest of the embeddings: of the file, of several in order, of a folder's parts in name
        order, or of the arrays.
    labels_sha256 : str | None
        Digest of the separate labels file; null where there is none.
    rows : int
        Rows used, without the dropped ones; queries where there is a gallery; pairs of scored
        pairs.
    dim : int | None
        Dimensions of a vector; null for scored pairs.
    classes : int
        Distinct labels among the rows used, or groups where there is a group column; 0 for
        scored pairs without one.
    evaluable_classes : int
        Classes or groups that have pairs of both kinds.
    singleton_classes : int
        The others: without figures of their own. Classes of a single row are impostors of the
        rest.
    dropped_rows : int
        Bad rows left out with --on-bad-rows drop.
    group_column : str | None
        Column of the groups that figures are by; null: they are by label.
    gallery_rows : int | None
        Rows of the gallery; null where there is none.
    gallery_sha256 : str | None
        Digest of the gallery's embeddings; null where there is none.
    """

    path: str
    sha256: Digest
    labels_sha256: Digest | None
    rows: Several
    dim: Some | None
    classes: Count
    evaluable_classes: Count
    singleton_classes: Count
    dropped_rows: Count
    group_column: str | None = None
    gallery_rows: Some | None = None
    gallery_sha256: Digest | None = None

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
    """How many pairs there are, and whether all of them were counted.

    Attributes
    ----------
    genuine : int
        Pairs of rows with equal labels.
    impostor : int
        Pairs of rows with different labels, each once.
    exhaustive : bool
        Whether every pair was counted, none sampled.
    excluded : int
        Pairs left out because they share a value (--exclude-same).
    """

    genuine: Some
    impostor: Some
    exhaustive: bool
    excluded: Count = 0


@dataclass(frozen=True, slots=True)
class CalibrationRange:
    """The range of thresholds that consistency is judged over.

    Attributes
    ----------
    by : {"far", "frr", "distance"}
        What low and high are: pooled FAR, pooled FRR, or distances.
    low : float
        Lower end as asked for: a share, or a distance.
    high : float
        Upper end as asked for: a share, or a distance.
    threshold_low : float | None
        Smallest threshold of the range, a distance of settings.metric; null where scored pairs
        without groups resolve none.
    threshold_high : float | None
        Largest threshold of the range, a distance of settings.metric; null where scored pairs
        without groups resolve none.
    points : int
        Grid thresholds inside the range, the ends included.
    contains_recommendation : bool | None
        Whether the recommended threshold lies in the range; null where there is none.
    """

    by: Literal["far", "frr", "distance"]
    low: Amount
    high: Amount
    threshold_low: float | None
    threshold_high: float | None
    points: Several
    contains_recommendation: bool | None


@dataclass(frozen=True, slots=True)
class Sample:
    """What the classes of a sampled evaluation were drawn from.

    Attributes
    ----------
    max_pairs : int
        Most pairs asked for.
    rows : int
        Rows of the source.
    classes : int
        Classes of the source.
    """

    max_pairs: Some
    rows: Several
    classes: Several


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows that equal another one: how many, their pairs, and the numbers of the first.

    Attributes
    ----------
    rows : int
        How many rows equal another.
    pairs : int
        Pairs at distance 0.
    first : tuple[int, ...]
        Numbers of the first of these rows in the source, from 0.
    """

    rows: Count
    pairs: Count
    first: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent; ``write`` is 0 until a run is saved.

    Attributes
    ----------
    read : float
        Seconds to read and check the source.
    count : float
        Seconds to count the pairs.
    score : float
        Seconds to score the counts.
    write : float
        Seconds to write the run; 0 until it is saved.
    pairs_per_second : float
        Pairs counted a second.
    """

    read: Amount
    count: Amount
    score: Amount
    write: Amount
    pairs_per_second: Amount


@dataclass(frozen=True, slots=True)
class Report:
    """Every score, setting and provenance of an evaluation.

    Attributes
    ----------
    schema_version : int
        Version of this schema; it grows when keys change.
    opis_version : str
        Version of opis-cli that wrote the report.
    created : str
        When, in ISO 8601 with the offset from UTC.
    source : SourceFacts
        What was read.
    settings : dict[str, Any]
        Everything that changes a number, engine and dtype included; later versions may add
        keys.
    pairs : Pairs
        How many pairs there are.
    calibration_range : CalibrationRange
        The range of thresholds that consistency is judged over.
    opis : float | None
        OPIS: mean squared deviation of the classes' utility curves from their mean, over the
        range; 0 is perfectly consistent, null with one evaluable class.
    eps_opis : EpsOpis
        The worst classes against the rest.
    recall_at_1 : float | None
        Share of the rows with a genuine pair whose nearest other row (of the gallery, if there
        is one) has the same label; null for scored pairs.
    recommendation : Recommendation
        The global threshold to deploy, or that none meets the bounds.
    deployed : Deployed | None
        The threshold already in use; null where none was given.
    eer : EqualError
        Equal error rate, where FAR and FRR are closest.
    operating_points : tuple[OperatingPoint, ...]
        Threshold and FRR at each FAR in use, largest FAR first.
    worst_classes : tuple[WorstClass, ...]
        Up to ten classes of least utility at the recommended threshold, or over the range where
        there is none; worst first.
    timings : Timings
        Time spent.
    counts_sha256 : str | None
        SHA-256 of the run's counts.npz; null until a run is saved.
    intervals : Intervals | None
        Confidence intervals with the class as the unit; null by group, with a gallery and of
        scored pairs, where a pair is not credited to the classes of both its rows.
    opis_corrected : OpisCorrected | None
        OPIS less the noise of small classes; null with fewer than two classes of four rows, and
        where not every two rows are a pair, by class.
    held_out : HeldOut | None
        Rates on held-out classes; null without --folds.
    differentials : Differentials | None
        How unequally the threshold treats the classes; null without one.
    sample : Sample | None
        What a sample was drawn from; null where all pairs were counted.
    open_set : OpenSet | None
        Open-set search; null where there is no gallery.
    duplicates : Duplicates | None
        Equal rows; null where nobody looked for them, as among scored pairs.
    opis_by : OpisBy | None
        OPIS and eps-OPIS with thresholds on other scales; null in reports of an older opis.
    """

    schema_version: int
    opis_version: str
    created: str
    source: SourceFacts
    settings: dict[str, Any]
    pairs: Pairs
    calibration_range: CalibrationRange
    opis: Share | None
    eps_opis: EpsOpis
    recall_at_1: Share | None
    recommendation: Recommendation
    deployed: Deployed | None
    eer: EqualError
    operating_points: tuple[OperatingPoint, ...]
    worst_classes: tuple[WorstClass, ...]
    timings: Timings
    counts_sha256: Digest | None
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
