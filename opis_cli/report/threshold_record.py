"""The record of a ``threshold.json``, and how it is read."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from opis_cli.errors import RunError
from opis_cli.quantities import Digest, OpenShare, Share
from opis_cli.report.report_json import of_version
from opis_cli.scoring.llr import LlrMap
from opis_cli.scoring.recommend import Equivalents
from opis_cli.settings import Metric
from opis_cli.text import SIMILARITIES

THRESHOLD_FILE = "threshold.json"
THRESHOLD_VERSION = 1
"""Version of the layout of ``threshold.json``. It rises if a new key changes decisions."""

Accept = Literal["distance <= threshold", "score >= threshold"]
_NONE = Equivalents(None, None, None)


@dataclass(frozen=True, slots=True)
class ReviewThresholds:
    """Two thresholds, between which a person decides. Both are on the scale of the threshold.

    Attributes
    ----------
    accept_threshold : float | None
        A pair is accepted up to this distance, or from this score up. Null if no pair is accepted
        without a review.
    refuse_threshold : float | None
        A pair is refused beyond this distance, or below this score. Null if no pair is refused
        without a review.
    refuse_equivalents : Equivalents
        The second threshold on other scales.
    """

    accept_threshold: float | None
    refuse_threshold: float | None
    refuse_equivalents: Equivalents = field(default=_NONE)


@dataclass(frozen=True, slots=True)
class GroupThresholds:
    """Thresholds by group at equal FAR, on the scale of the threshold.

    Attributes
    ----------
    column : str | None
        Column of the groups in the evaluated data.
    max_far : float
        Bound on the FAR of the impostor pairs within each group.
    thresholds : dict[str, float]
        Threshold of each group that has one, by the name of the group as text.
    other_groups : float
        Threshold of all other groups.
    across_groups : str
        The rule for a pair across two groups: the stricter of their two thresholds.
    """

    column: str | None
    max_far: Share
    thresholds: dict[str, float]
    other_groups: float
    across_groups: str


@dataclass(frozen=True, slots=True)
class RemedyOf:
    """The remedy that changed the vectors before they were compared.

    Attributes
    ----------
    name : str
        Name of the remedy.
    sha256 : str | None
        Digest of its arrays. Null if it is not known.
    """

    name: str
    sha256: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdFile:
    """threshold.json: the threshold to deploy, what it means, and where it comes from.

    Attributes
    ----------
    schema_version : int
        Version of the layout of this file. Files without this key are older.
    threshold : float
        A distance, or a score if a larger score means a closer pair. With review it is the
        threshold up to which pairs are accepted without one.
    metric : Metric
        What distance or score it is. "distance" and "score" are those of scored pairs.
    accept : Accept
        The rule.
    equivalents : Equivalents
        The same threshold on other scales.
    review : ReviewThresholds | None
        Two thresholds in place of the one, for decisions with a review. Null if there are none.
    groups : GroupThresholds | None
        Thresholds by group. Null if the evaluation had no groups.
    remedy : RemedyOf | None
        The remedy that changes vectors first. Null without one.
    llr : LlrMap | None
        Map to log-likelihood ratios. Null if there is none.
    max_far : float | None
        Bound on the pooled FAR that the threshold meets. Null if there is none.
    max_frr : float | None
        Bound on the pooled FRR that the threshold meets. Null if there is none.
    far : float | None
        Pooled FAR on the evaluated data.
    frr : float | None
        Pooled FRR on the evaluated data.
    confidence : float | None
        Confidence with which the bounds hold on other classes. Null if it was not asked for.
    source_sha256 : str | None
        Digest of the evaluated data.
    created : str | None
        Time of the evaluation, in ISO 8601.
    opis_version : str | None
        Version of opis that made the file.
    """

    schema_version: int = THRESHOLD_VERSION
    threshold: float
    metric: Metric
    accept: Accept | None = None
    equivalents: Equivalents = field(default=_NONE)
    review: ReviewThresholds | None = None
    groups: GroupThresholds | None = None
    remedy: RemedyOf | None = None
    llr: LlrMap | None = None
    max_far: Share | None = None
    max_frr: Share | None = None
    far: Share | None = None
    frr: Share | None = None
    confidence: OpenShare | None = None
    source_sha256: Digest | None = None
    created: str | None = None
    opis_version: str | None = None

    @property
    def distance(self) -> float:
        """The threshold as a distance; that of a score is its negative."""
        return -self.threshold if self.metric in SIMILARITIES else self.threshold


def accept_rule(metric: str) -> Accept:
    """Return the rule of acceptance of a metric as text."""
    return "score >= threshold" if metric in SIMILARITIES else "distance <= threshold"


def threshold_file(text: str, where: str) -> ThresholdFile:
    """Return the record of a ``threshold.json``, of this or of an older opis.

    Parameters
    ----------
    text : str
        Content of the file.
    where : str
        Name of the file, for errors.

    Raises
    ------
    RunError
        The text is no such file, or a newer opis wrote it.
    """
    try:
        read = of_version(ThresholdFile, text, where, THRESHOLD_VERSION, unversioned=1)
        _check(read)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise RunError(
            f"{where}: no threshold.json (it needs the keys threshold and metric, and the others "
            "as opis writes them)"
        ) from None
    return read


def _check(read: ThresholdFile) -> None:
    """Refuse numbers that no threshold can have, with a ValueError or an OverflowError."""
    numbers = [read.threshold]
    if read.metric == "cosine" and not 0 <= read.threshold <= 2:
        raise ValueError("no cosine distance")
    if read.accept is not None and read.accept != accept_rule(read.metric):
        raise ValueError("a rule of another metric")
    if read.review is not None:
        ends = read.review.accept_threshold, read.review.refuse_threshold
        given = [end for end in ends if end is not None]
        if given != sorted(given, reverse=read.metric in SIMILARITIES):
            raise ValueError("pairs that are both accepted and refused")
        numbers += given
    if read.groups is not None:
        numbers += [*read.groups.thresholds.values(), read.groups.other_groups]
    if read.llr is not None:
        line, points = (read.llr.slope, read.llr.intercept), (read.llr.values, read.llr.llrs)
        if read.llr.method == "logistic":
            numbers += [float("nan") if part is None else part for part in line]
        else:
            values, llrs = (() if part is None else part for part in points)
            if not values or len(values) != len(llrs) or list(values) != sorted(set(values)):
                raise ValueError("no map")
            numbers += [*values, *llrs]
    if not all(type(one) in (int, float) and math.isfinite(float(one)) for one in numbers):
        raise ValueError("a number that is not finite")


def load_threshold_file(path: str | Path) -> ThresholdFile:
    """Read a ``threshold.json``, or that of a run folder.

    Raises
    ------
    RunError
        The file is missing or damaged, or a newer opis wrote it; or no threshold met the bounds of
        the run.
    """
    path = Path(path)
    file = path / THRESHOLD_FILE if path.is_dir() else path
    try:
        text = text_of(file)
    except OSError as error:
        raise RunError(
            f"{file}: cannot be read ({error.strerror}); give a threshold.json, or a run whose "
            "bounds a threshold meets"
        ) from None
    return threshold_file(text, str(file))


def text_of(file: Path) -> str:
    """Return the text of a file, whatever its bytes are. A damaged text is refused as JSON."""
    return file.read_text(encoding="utf-8", errors="replace")
