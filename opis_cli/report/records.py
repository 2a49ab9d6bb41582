"""The report as frozen records. ``report_json.py`` writes and reads them.

The names of the fields are the keys of ``report.json``, which ``report.schema.json`` in this folder
describes. Rates and utilities lie in [0, 1]. Thresholds are distances of ``settings["metric"]``.
"""

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from opis_cli.quantities import Amount, Count, Digest, Several, Share, Some
from opis_cli.records import InputWarning
from opis_cli.scoring.by_group import ByGroup
from opis_cli.scoring.costs import ExpectedCosts
from opis_cli.scoring.deployed import Deployed, WorstClass
from opis_cli.scoring.inequity import Differentials
from opis_cli.scoring.operating import OperatingPoint
from opis_cli.scoring.opis import EpsOpis, OpisBy
from opis_cli.scoring.pooled import EqualError, OpenSet
from opis_cli.scoring.recommend import Recommendation
from opis_cli.scoring.review import Review
from opis_cli.statistics.held_out import HeldOut
from opis_cli.statistics.intervals import Intervals
from opis_cli.statistics.llr_held_out import Llr
from opis_cli.statistics.noise import OpisCorrected

SCHEMA_VERSION = 6


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Facts about the source of an evaluation.

    Attributes
    ----------
    path : str
        File, folder, pattern or address as the user gave it. It is '<arrays>' for arrays.
    sha256 : str
        Digest of the embeddings: of the file, of several files in order, of a folder's parts in
        the order of their names, or of the arrays.
    labels_sha256 : str | None
        Digest of the separate labels file. Null if there is none.
    rows : int
        Number of rows used, without dropped rows. With a gallery, number of queries. For scored
        pairs, number of pairs.
    dim : int | None
        Number of dimensions of a vector. For the Hamming metric, number of its bits. Null for
        scored pairs.
    classes : int
        Number of distinct labels among the rows used. With a group column, number of groups. 0 for
        scored pairs without a group column.
    evaluable_classes : int
        Number of classes or groups that have both genuine and impostor pairs.
    singleton_classes : int
        Number of the other classes or groups, which have no figures of their own. A class with a
        single row takes part in impostor pairs of the others.
    dropped_rows : int
        Number of bad rows that were left out with --on-bad-rows drop.
    group_column : str | None
        Column of the groups, if figures are by group. Null if they are by label.
    gallery_rows : int | None
        Number of rows of the gallery. Null if there is none.
    gallery_sha256 : str | None
        Digest of the gallery's embeddings. Null if there is none.
    warnings : tuple of InputWarning
        Doubts about the data, such as a label that marks rows without a class.
    embedding_column : str | None
        The column of vectors as it was read, guessed or given, or the pattern of columns; null if
        the file has no columns.
    label_column : str | None
        The column of labels as it was read, guessed or given; null if the file has no columns.
    ignored_rows : int | None
        Number of rows with the label of --ignore-label. Null without this option.
    bits_of_number : int | None
        Number of bits that each number of the vectors holds, for the Hamming metric: 8 if bits are
        packed, else 1. Null for other metrics.
    remedy : str | None
        Name of the remedy that changed the vectors. Null without one.
    remedy_sha256 : str | None
        Digest of the arrays of the remedy. Null without one.
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
    warnings: tuple[InputWarning, ...] = ()
    embedding_column: str | None = None
    label_column: str | None = None
    ignored_rows: Count | None = None
    bits_of_number: Count | None = None
    remedy: str | None = None
    remedy_sha256: Digest | None = None

    @property
    def name(self) -> str:
        """A short name of the source: its file, without the folders. Paths of several stay whole.

        It comes from outside and is not trusted.
        """
        if self.path == "<arrays>" or " " in self.path:
            return self.path.strip("<>")
        return PurePath(self.path).name or self.path

    @property
    def one(self) -> str:
        """The word for the unit of figures by class: ``class`` or ``group``."""
        return "class" if self.group_column is None else "group"

    @property
    def many(self) -> str:
        """The plural of ``one``: ``classes`` or ``groups``."""
        return "classes" if self.group_column is None else "groups"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Numbers of pairs, and whether all pairs were counted.

    Attributes
    ----------
    genuine : int
        Number of genuine pairs: pairs of rows with equal labels.
    impostor : int
        Number of impostor pairs: pairs of rows with different labels. Each pair counts once.
    exhaustive : bool
        Whether all pairs of the source were counted, and not those of a sample.
    excluded : int
        Number of pairs that were left out because their rows share a value (--exclude-same).
    unscored_genuine : int
        Number of the genuine pairs that have no score, so that every threshold rejects them
        (--missing-score reject).
    unscored_impostor : int
        Number of such impostor pairs.
    """

    genuine: Some
    impostor: Some
    exhaustive: bool
    excluded: Count = 0
    unscored_genuine: Count = 0
    unscored_impostor: Count = 0


@dataclass(frozen=True, slots=True)
class CalibrationRange:
    """The calibration range: the thresholds over which consistency is judged.

    Attributes
    ----------
    by : {"far", "frr", "distance"}
        Quantity of low and high: pooled FAR, pooled FRR, or distance.
    low : float
        Lower end as the user gave it: a share or a distance.
    high : float
        Upper end as the user gave it: a share or a distance.
    threshold_low : float | None
        Smallest threshold of the range, a distance of settings.metric. Null for scored pairs
        without groups that cannot resolve the range.
    threshold_high : float | None
        Largest threshold of the range, a distance of settings.metric. Null for scored pairs
        without groups that cannot resolve the range.
    points : int
        Number of thresholds with counts by class in the range, including its ends. 0 without a
        range.
    contains_recommendation : bool | None
        Whether the recommended threshold lies in the range. Null if there is no threshold or no
        range.
    """

    by: Literal["far", "frr", "distance"]
    low: Amount
    high: Amount
    threshold_low: float | None
    threshold_high: float | None
    points: Count
    contains_recommendation: bool | None


@dataclass(frozen=True, slots=True)
class Sample:
    """Facts about the source of an evaluation of randomly drawn classes or tenants.

    Attributes
    ----------
    max_pairs : int
        Largest number of pairs: as the user gave it, or as --time-limit chose it. With it and the
        seed the same rows are drawn.
    rows : int
        Number of rows of the source. With a gallery, number of queries.
    classes : int
        Number of classes of the source. With a gallery, number of classes of the queries.
    tenants : int | None
        Number of tenants of the source, if whole tenants were drawn. Null if whole classes were.
    time_limit : float | None
        Seconds that the evaluation was allowed, if that decided max_pairs.
    """

    max_pairs: Some
    rows: Several
    classes: Several
    tenants: Several | None = None
    time_limit: Amount | None = None


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows that equal another row.

    Attributes
    ----------
    rows : int
        Number of rows that equal another row.
    pairs : int
        Number of pairs at distance 0.
    first : tuple[int, ...]
        Row numbers in the source, from 0, of the first ten of these rows.
    conflicts : int
        Pairs at distance 0 that have different labels.
    """

    rows: Count
    pairs: Count
    first: tuple[int, ...]
    conflicts: Count = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """The time that an evaluation took.

    Attributes
    ----------
    read : float
        Seconds to read and check the source.
    count : float
        Seconds to count the pairs.
    score : float
        Seconds to score the counts.
    write : float
        Seconds to write the run. 0 until the run is saved.
    pairs_per_second : float
        Number of pairs counted per second.
    """

    read: Amount
    count: Amount
    score: Amount
    write: Amount
    pairs_per_second: Amount


@dataclass(frozen=True, slots=True)
class Report:
    """The report of an evaluation: all scores, all settings, and facts about the source.

    Attributes
    ----------
    schema_version : int
        Version of this schema. It increases if keys change.
    opis_version : str
        Version of opis-cli that wrote the report.
    created : str
        Time of the evaluation in ISO 8601, with the offset from UTC.
    source : SourceFacts
        Facts about the source.
    settings : dict[str, Any]
        All settings that can change a number, with engine and dtype. Later versions may add keys.
    pairs : Pairs
        Numbers of pairs.
    calibration_range : CalibrationRange
        The calibration range: the thresholds over which consistency is judged.
    opis : float | None
        OPIS: mean squared deviation of the classes' utility curves from their mean curve, over the
        calibration range. 0 means that all classes behave alike. Null if fewer than two classes
        are evaluable.
    eps_opis : EpsOpis
        Comparison of the worst classes with the other evaluable classes.
    recall_at_1 : float | None
        Recall@1: share of the rows with a genuine pair whose nearest other row has the same label.
        With a gallery, the nearest row of the gallery. Null for scored pairs.
    recommendation : Recommendation
        The recommended global threshold, if one meets the bounds.
    deployed : Deployed | None
        Rates of the deployed threshold. Null if none was given.
    eer : EqualError
        Equal error rate, at the threshold where FAR and FRR are closest.
    operating_points : tuple[OperatingPoint, ...]
        Threshold and FRR at each of several FAR targets, the largest FAR first.
    worst_classes : tuple[WorstClass, ...]
        Up to ten classes with the lowest utility at the recommended threshold, the lowest first.
        Without a threshold, those with the lowest mean utility over the calibration range.
    timings : Timings
        The time that the evaluation took.
    counts_sha256 : str | None
        SHA-256 of the run's counts.npz. Null until the run is saved.
    intervals : Intervals | None
        Confidence intervals with the class as the unit. Null with groups, with a gallery, and for
        scored pairs: a pair then does not count for the classes of both its rows. Null for a
        sample of tenants: figures then vary with the tenants.
    opis_corrected : OpisCorrected | None
        OPIS without the noise of small classes. Null if fewer than two classes have four rows, if
        some two rows are not a pair, and with groups.
    held_out : HeldOut | None
        Rates on held-out classes. Null without --folds.
    differentials : Differentials | None
        How unequally the recommended threshold treats the classes. Null if there is no threshold,
        or no counts by class at it.
    sample : Sample | None
        Facts about the source of a sample of classes. Null if all pairs were counted.
    open_set : OpenSet | None
        Queries without a genuine gallery row. Null if there is no gallery.
    duplicates : Duplicates | None
        Rows that equal another row. Null if counting did not look for them, as for scored pairs.
    opis_by : OpisBy | None
        OPIS and eps-OPIS with thresholds on other scales. Null in reports of an older opis.
    groups : ByGroup | None
        Groups at the global threshold, and at thresholds of their own at equal FAR. Null without
        groups, if rows of the gallery have no group, if no threshold meets max_far, and in reports
        of an older opis.
    review : Review | None
        Two thresholds, and what goes to review between them. Null without --review.
    costs : ExpectedCosts | None
        The expected cost of a pair, in the unit of the given costs. Null without costs.
    llr : Llr | None
        Map from distances to likelihood ratios, and how well it fits. Null in reports of an older
        opis.
    """

    schema_version: int
    opis_version: str
    created: str
    source: SourceFacts
    settings: dict[str, Any] = field(hash=False)
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
    groups: ByGroup | None = None
    review: Review | None = None
    costs: ExpectedCosts | None = None
    llr: Llr | None = None

    @property
    def counted(self) -> str:
        """The unit of the size of a class or group: ``rows``, ``queries`` or ``pairs``."""
        if self.settings.get("pairs"):
            return "pairs"
        return "rows" if self.source.gallery_rows is None else "queries"
