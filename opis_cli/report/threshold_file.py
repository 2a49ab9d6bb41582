"""Write ``threshold.json``, the small file to deploy, and read thresholds that users give.

``opis_cli.threshold`` decides pairs by the file.
"""

import math
from decimal import Decimal
from pathlib import Path

from opis_cli.errors import RunError, SettingsError
from opis_cli.files import write_text
from opis_cli.report.advice import Advice
from opis_cli.report.records import Report
from opis_cli.report.report_json import to_json
from opis_cli.report.threshold_record import (
    GroupThresholds,
    RemedyOf,
    ReviewThresholds,
    ThresholdFile,
    accept_rule,
    text_of,
    threshold_file,
)
from opis_cli.scoring.by_group import ACROSS, ACROSS_SCORES, ByGroup
from opis_cli.scoring.llr import LlrMap
from opis_cli.scoring.pooled import RatesAt
from opis_cli.scoring.recommend import Recommendation
from opis_cli.scoring.review import Review
from opis_cli.settings import Metric
from opis_cli.text import SIMILARITIES, as_known, scale
from opis_cli.values import Scale, on_named_scale


def threshold_json(report: Report, advice: Advice | Report) -> str | None:
    """Return the text of ``threshold.json``: threshold, metric, accept rule, bounds and rates.

    With review, the threshold is the one up to which pairs are accepted without review. The result
    is None if there is no threshold to accept by.
    """
    chosen, review = advice.recommendation, advice.review
    metric: Metric = report.settings["metric"]
    at: RatesAt | Recommendation | None = chosen
    same = chosen.equivalents
    if review is not None and not review.one_threshold:
        at, same = chosen.at_max_far, review.accept_equivalents
    if at is None or at.threshold is None:
        return None
    name = report.source.remedy
    return to_json(
        ThresholdFile(
            threshold=as_known(at.threshold, metric),
            metric=metric,
            accept=accept_rule(metric),
            equivalents=same,
            review=_review(review, metric),
            groups=None if advice.groups is None else _by_group(report, advice.groups),
            remedy=None if name is None else RemedyOf(name, report.source.remedy_sha256),
            llr=None if report.llr is None else _map(report.llr.map, metric),
            max_far=chosen.max_far,
            max_frr=chosen.max_frr,
            far=at.far,
            frr=at.frr,
            confidence=chosen.confidence,
            source_sha256=report.source.sha256,
            created=report.created,
            opis_version=report.opis_version,
        )
    )


def _by_group(report: Report, groups: ByGroup) -> GroupThresholds:
    """Return thresholds by group, and the rules for other groups and for pairs across groups."""
    metric = report.settings["metric"]
    return GroupThresholds(
        column=report.source.group_column,
        max_far=groups.max_far,
        thresholds={
            str(one.name): as_known(one.threshold, metric)
            for one in groups.groups
            if one.threshold is not None
        },
        other_groups=as_known(groups.threshold, metric),
        across_groups=ACROSS_SCORES if metric in SIMILARITIES else ACROSS,
    )


def _map(made: LlrMap, metric: Metric) -> LlrMap:
    """Return a map from distances as one from numbers on the user's scale."""
    return made.of_negatives() if metric in SIMILARITIES else made


def _review(review: Review | None, metric: Metric) -> ReviewThresholds | None:
    """Return the two thresholds on the user's scale, or None without review."""
    if review is None:
        return None
    ends = review.accept_threshold, review.refuse_threshold
    accept, refuse = (None if end is None else as_known(end, metric) for end in ends)
    return ReviewThresholds(accept, refuse, review.refuse_equivalents)


def write_threshold(report: Report, advice: Advice | Report, file: Path) -> None:
    """Write ``threshold.json`` for what to deploy, of a report or by other bounds.

    Raises
    ------
    RunError
        No threshold meets the bounds, or the file cannot be written.
    """
    text = threshold_json(report, advice)
    if text is None:
        raise RunError(f"{file}: not written, as no threshold meets the bounds")
    write_text(file, text)


def read_threshold(text: str, metric: str) -> float:
    """Read a deployed threshold, and return it as a distance.

    Parameters
    ----------
    text : str
        A number, a number on a named scale such as ``similarity:0.8`` or ``l2:0.63``, or the path
        of a ``threshold.json``.
    metric : str
        Metric of the run. For ``score``, where a higher score means a closer pair, the result is
        the negative of the score.

    Raises
    ------
    SettingsError
        The text is none of these, the file has another metric, the metric has no such scale, or the
        number is not a possible distance.
    """
    named = on_named_scale(text)
    try:
        threshold = float(text) if named is None else _on_own_scale(text, *named, metric)
    except ValueError:
        threshold = _threshold_of_file(Path(text), metric)
    if metric in SIMILARITIES and math.isfinite(threshold):
        return -threshold
    if not (math.isfinite(threshold) and threshold >= 0):
        raise SettingsError(f"--threshold {text}: a distance is finite and not negative")
    if metric == "cosine" and threshold > 2:
        raise SettingsError(f"--threshold {text}: a cosine distance lies between 0 and 2")
    return threshold


def _on_own_scale(text: str, scale: Scale, number: Decimal, metric: str) -> float:
    """Return a threshold on the scale of the metric, from one on another scale.

    Decimal arithmetic is exact, so that 0.2 is the cosine distance of the similarity 0.8.
    """
    own: tuple[Scale, ...] = ("score",) if metric in SIMILARITIES else ("distance",)
    if metric in ("cosine", "euclidean"):
        own = ("distance", "l2", "squared-l2")
    if metric == "cosine":
        own = ("distance", "similarity", "l2", "squared-l2")
    if scale not in own:
        raise SettingsError(
            f"--threshold {text}: the {metric} metric has no such scale; give "
            f"{' or '.join(f'{one}:T' for one in own)}"
        )
    if scale in ("distance", "score") or (scale == "l2" and metric == "euclidean"):
        return float(number)
    if number < (-1 if scale == "similarity" else 0) or (scale == "similarity" and number > 1):
        ends = "between -1 and 1" if scale == "similarity" else "at 0 or above"
        raise SettingsError(f"--threshold {text}: a {_SAID[scale]} lies {ends}")
    if metric == "euclidean":
        return float(number.sqrt())
    if scale == "similarity":
        return float(1 - number)
    return float((number**2 if scale == "l2" else number) / 2)


_SAID = {"similarity": "cosine similarity", "l2": "distance", "squared-l2": "squared distance"}


def _threshold_of_file(file: Path, metric: str) -> float:
    try:
        read = threshold_file(text_of(file), str(file))
    except OSError as error:
        raise SettingsError(
            f"--threshold {str(file)!r}: neither a number, nor one on a scale such as "
            f"similarity:0.8, nor a file that can be read ({error.strerror})"
        ) from None
    except RunError as error:
        raise SettingsError(f"--threshold {error.args[0]}") from None
    if read.metric != metric:
        raise SettingsError(
            f"--threshold {file}: made for the {read.metric} metric, and these are {scale(metric)}s"
        )
    return float(read.threshold)
