"""The report: frozen records, which ``report_json.py`` writes and reads.

Field names are those of ``report.json``; ``report.schema.json`` beside this file describes them.
Rates and utilities lie in [0, 1], thresholds are distances of ``settings["metric"]``.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from opis_cli.borderline import Borderline
from opis_cli.settings import Prefer

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
class EpsOpis:
    """The worst classes against the rest."""

    eps: float
    value: float | None
    worst_classes: int
    opis_worst: float | None
    opis_rest: float | None
    opis_gap: float | None


@dataclass(frozen=True, slots=True)
class OpisOn:
    """OPIS and eps-OPIS with thresholds on another scale."""

    opis: float | None
    eps_opis: float | None


@dataclass(frozen=True, slots=True)
class OpisBy:
    """OPIS by other scales: L2 distance of unit vectors, log10 of the pooled FAR.

    Null where there is no such scale.
    """

    euclidean_unit: OpisOn | None
    log_far: OpisOn | None


@dataclass(frozen=True, slots=True)
class Equivalents:
    """A threshold on other scales, for unit vectors, or as the score that it stands for; accepted
    from there on up (similarity, score) or down."""

    cosine_similarity: float | None
    euclidean_unit: float | None
    squared_euclidean_unit: float | None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class RatesAt:
    """Pooled rates at a threshold; nulls where there is no such threshold."""

    threshold: float | None
    far: float | None
    frr: float | None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The global threshold to deploy, or that there is none, and what each bound costs."""

    status: Literal["feasible", "infeasible"]
    threshold: float | None
    interval: tuple[float, float] | None
    prefer: Prefer
    max_far: float | None
    max_frr: float | None
    supported: bool | None
    far: float | None
    frr: float | None
    class_mean_far: float | None
    class_mean_frr: float | None
    accepted_impostors: int | None
    rejected_genuine: int | None
    mean_utility: float | None
    classes_meeting_bounds: float | None
    false_accepts_per_query: float | None
    precision: float | None
    equivalents: Equivalents
    at_max_far: RatesAt | None
    at_max_frr: RatesAt | None
    confidence: float | None = None
    far_upper: float | None = None
    frr_upper: float | None = None
    classes_needed: int | None = None
    borderline: Borderline | None = None


@dataclass(frozen=True, slots=True)
class Deployed:
    """A threshold already in use, judged on these embeddings."""

    threshold: float
    far: float | None
    frr: float | None
    class_mean_far: float | None
    class_mean_frr: float | None
    mean_utility: float | None
    classes_meeting_bounds: float | None
    fpir: float | None = None
    worst_classes: "tuple[WorstClass, ...]" = ()
    borderline: Borderline | None = None


@dataclass(frozen=True, slots=True)
class EqualError:
    """Where FAR and FRR are closest."""

    rate: float
    threshold: float


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The threshold at a FAR target; ``supported`` is False where too few pairs resolve it."""

    far: float
    threshold: float | None
    achieved_far: float | None
    frr: float | None
    supported: bool


@dataclass(frozen=True, slots=True)
class WorstClass:
    """One of the classes worst off at a threshold, or over the calibration range."""

    class_name: int | str = dataclasses.field(metadata={"key": "class"})
    size: int
    utility: float | None
    mean_utility: float
    opis_contribution: float
    far: float | None
    frr: float | None


Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class StandardErrors:
    """Standard errors, with the class as the unit."""

    opis: float | None
    eps_opis: float | None
    far: float | None
    frr: float | None


@dataclass(frozen=True, slots=True)
class EffectiveClasses:
    """How many classes of equal parts would carry a figure as evenly: pairs of ``far`` and
    ``frr``, accepted impostor pairs at the recommended threshold, contributions to OPIS."""

    far: float
    frr: float
    far_accepted: float | None = None
    opis: float | None = None
    eps_opis: float | None = None


@dataclass(frozen=True, slots=True)
class Intervals:
    """Confidence intervals, with the class as the unit; rates are at the recommended threshold.

    ``threshold`` is where, on other classes, the bound that the threshold was chosen by would be
    reached; or the FAR of the threshold, where it lies inside its bounds.
    """

    opis: Ends | None
    eps_opis: Ends | None
    far: Ends | None
    frr: Ends | None
    threshold: Ends | None
    level: float
    method: str
    class_mean_far: Ends | None
    class_mean_frr: Ends | None
    mean_utility: Ends | None
    standard_errors: StandardErrors
    effective_classes: EffectiveClasses


@dataclass(frozen=True, slots=True)
class OpisCorrected:
    """OPIS less the noise of small classes, from two halves of each class of four rows or more.

    ``plain`` is OPIS of the same classes, ``noise_share`` what of it is noise: it can be negative,
    or exceed 1, by chance. ``sizes`` are those of the smallest and the largest of them,
    ``effective_classes`` how many of equal parts would carry it as evenly.
    """

    value: float
    interval: Ends
    noise_share: float | None
    classes: int
    plain: float
    sizes: tuple[int, int]
    effective_classes: float | None = None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rates on classes that the threshold was not chosen on, one fold after the other.

    Standard deviations are over folds; nulls where no fold has such a rate.
    """

    folds: int
    far_mean: float | None
    far_max: float | None
    far_sd: float | None
    frr_mean: float | None
    frr_max: float | None
    frr_sd: float | None
    bounds_held: float
    thresholds: Ends | None


@dataclass(frozen=True, slots=True)
class Differential:
    """How unequal the classes' rates are; ``classes`` of at least ``least_pairs`` took part."""

    max_over_geomean: float
    gini: float
    floor: float
    classes: int
    least_pairs: int


@dataclass(frozen=True, slots=True)
class Differentials:
    """Inequity of FAR and of FRR; null where fewer than two classes can take part."""

    far: Differential | None
    frr: Differential | None


@dataclass(frozen=True, slots=True)
class Sample:
    """What the classes of a sampled evaluation were drawn from."""

    max_pairs: int
    rows: int
    classes: int


@dataclass(frozen=True, slots=True)
class OpenSet:
    """Queries without a genuine gallery row, and the share of them that is identified all the
    same at the recommended threshold."""

    queries: int
    fpir: float | None


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
