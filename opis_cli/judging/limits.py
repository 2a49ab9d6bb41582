"""The limits of a gate, from flags and the table ``[gate]`` of ``opis.toml``.

A flag overrides the table.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opis_cli.config import load_config
from opis_cli.errors import SettingsError
from opis_cli.files import write_text
from opis_cli.values import parse_number, unknown

Unit = Literal["number", "rate", "distance", "pairs", "rows"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of limit.

    Attributes
    ----------
    name : str
        Name of the option, without the leading dashes.
    about : str
        Description of the limited figure.
    unit : {"number", "rate", "distance", "pairs", "rows"}
        Unit of the figure. Pairs and rows are counted.
    least : bool
        Whether the figure must be at least the limit. Otherwise it must be at most the limit.
    against_baseline : bool
        Whether the limited figure needs a baseline: a worsening, or decisions that change. Such a
        limit may be a share of the baseline's figure: ``5%``.
    example : str
        Value in the example that ``opis gate --init`` writes.
    figure : str
        Name of the limited figure in a sentence: ``highest FRR``.
    """

    name: str
    about: str
    unit: Unit
    example: str
    figure: str
    least: bool = False
    against_baseline: bool = False

    @property
    def field(self) -> str:
        """The name with underscores, as a Python identifier."""
        return self.name.replace("-", "_")

    @property
    def is_worsening(self) -> bool:
        """Whether the limited figure is a figure of the run less that of the baseline."""
        return self.against_baseline and self.name != FLIPS

    @property
    def share_of(self) -> str:
        """What a percentage is a share of; empty if the limit cannot be such a share."""
        if self.name == FLIPS:
            return "the pairs that the baseline accepts"
        if self.against_baseline:
            return "the baseline's"
        return "the rows" if self.unit == "rows" else ""


SUSPECTS = "max-suspects"
"""The limit that is judged from the evidence of a run."""
FLIPS = "max-flips"
"""The limit that is judged by looking at the pairs of the run and of the baseline again."""
RULES = (
    Rule("max-opis", "OPIS, how much the classes differ", "number", "0.02", "OPIS"),
    Rule("max-eps-opis", "worst classes against the rest, eps-OPIS", "number", "0.1", "eps-OPIS"),
    Rule("max-far", "pooled FAR at the threshold", "rate", "0.01", "FAR"),
    Rule("max-frr", "pooled FRR at the threshold", "rate", "0.2", "FRR"),
    Rule("min-recall-at-1", "recall@1", "rate", "0.9", "recall@1", least=True),
    Rule(
        "max-false-accepts-per-query",
        "wrong rows that one search returns, on average",
        "number",
        "5",
        "number of false accepts per query",
    ),
    Rule(
        "max-fpir",
        "share of the queries without a genuine gallery row that find one",
        "rate",
        "0.05",
        "FPIR",
    ),
    Rule(
        "min-precision",
        "genuine share of the accepted pairs, at the run's prior",
        "rate",
        "0.9",
        "precision",
        least=True,
    ),
    Rule(
        "min-identification",
        "share of searches whose nearest row is right and accepted",
        "rate",
        "0.8",
        "identification",
        least=True,
    ),
    Rule(
        "min-classes-meeting-bounds",
        "share of the classes within the run's bounds",
        "rate",
        "0.6",
        "share within the bounds",
        least=True,
    ),
    Rule("max-class-far", "FAR of the worst class at the threshold", "rate", "0.05", "highest FAR"),
    Rule("max-class-frr", "FRR of the worst class at the threshold", "rate", "0.9", "highest FRR"),
    Rule(
        "max-review",
        "share of the pairs that go to review",
        "rate",
        "0.02",
        "share of the pairs to review",
    ),
    Rule(
        "max-label-conflicts",
        "pairs of equal rows with different labels",
        "pairs",
        "0",
        "pairs of equal rows with different labels",
    ),
    Rule(
        SUSPECTS,
        "suspect rows that `opis explain` found, or as 1% of the rows",
        "rows",
        '"1%"',
        "suspect rows",
    ),
    Rule(
        "max-opis-increase",
        "rise of OPIS, absolute or as 5% of the baseline's",
        "number",
        '"10%"',
        "OPIS",
        against_baseline=True,
    ),
    Rule(
        "max-frr-increase",
        "rise of the pooled FRR, likewise",
        "rate",
        "0.01",
        "FRR",
        against_baseline=True,
    ),
    Rule(
        "max-recall-drop",
        "fall of recall@1, likewise",
        "rate",
        "0.005",
        "recall@1",
        against_baseline=True,
    ),
    Rule(
        "max-threshold-shift",
        "shift of the recommended threshold, up or down, likewise",
        "distance",
        '"5%"',
        "threshold",
        against_baseline=True,
    ),
    Rule(
        FLIPS,
        "decisions that change from the baseline, or as 1% of the pairs that it accepts",
        "pairs",
        '"5%"',
        "changed decisions",
        against_baseline=True,
    ),
)
RULE = {rule.name: rule for rule in RULES}
DEFAULT_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit with its value.

    Attributes
    ----------
    rule : Rule
    amount : float
        The value, not negative.
    relative : bool
        Whether the value is a share (see ``Rule.share_of``). Otherwise it is absolute.
    """

    rule: Rule
    amount: float
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Demands:
    """The limits of a gate, and how the gate judges by them.

    Attributes
    ----------
    limits : tuple of Limit
    baseline : str, optional
        Path of the baseline run.
    confidence : float, optional
        Confidence of each check against the baseline. If it is None, the differences decide.
    family : bool
        Whether the confidence is that of all checks against the baseline together.
    threshold : str, optional
        The deployed threshold: a number, or a ``threshold.json``.
    """

    limits: tuple[Limit, ...]
    baseline: str | None
    confidence: float | None
    family: bool = False
    threshold: str | None = None

    @property
    def need_evidence(self) -> bool:
        """Whether a limit is judged from what ``opis explain`` found."""
        return any(limit.rule.name == SUSPECTS for limit in self.limits)

    @property
    def need_flips(self) -> bool:
        """Whether a limit is judged from the decisions that change."""
        return any(limit.rule.name == FLIPS for limit in self.limits)

    @property
    def worsenings(self) -> tuple[Limit, ...]:
        """The limits on figures of the run less those of the baseline."""
        return tuple(limit for limit in self.limits if limit.rule.is_worsening)


def read_demands(
    table: dict[str, Any],
    flags: dict[str, Any],
    file: str = "opis.toml",
    *,
    need_limit: bool = True,
) -> Demands:
    """Read the limits of a gate.

    Parameters
    ----------
    table : dict
        The table ``[gate]`` of a file.
    flags : dict
        Flags by Python name. A flag overrides the key in the table. None means: not given.
    file : str
        Name of the file, for messages.
    need_limit : bool
        Whether to refuse a gate without limits, which judges nothing.

    Raises
    ------
    SettingsError
        A key is unknown, a value is not usable, no limit is set and one is needed, or a limit
        against a baseline is set without a baseline.
    """
    known = {*RULE, "baseline", "threshold", "confidence", "family"}
    given: dict[str, tuple[str, Any]] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in known:
            raise SettingsError(f"{file}: [gate]: {unknown('key', key, known, 'keys')}")
        if name in given:
            raise SettingsError(f"{file}: [gate]: {key!r} is given twice")
        given[name] = (f"{file}: [gate] {key}", value)
    for field, value in flags.items():
        name = field.replace("_", "-")
        if value is not None:
            given[name] = (f"--{name}", value)
    limits = tuple(_limit(RULE[name], *given[name]) for name in RULE if name in given)
    baseline = _text(*given["baseline"]) if "baseline" in given else None
    if not limits and need_limit:
        raise SettingsError(
            "there is no limit to judge by; set one, such as --max-opis=0.02, or keep them in "
            "opis.toml: `opis gate --init` writes an example. Only --threshold with --html, and no "
            "other report, shows a run without a limit"
        )
    lacking = [limit.rule.name for limit in limits if limit.rule.against_baseline]
    if lacking and baseline is None:
        raise SettingsError(
            f"{given[lacking[0]][0]} is against a baseline; give --baseline=RUN as well"
        )
    confidence = _confidence(*given["confidence"]) if "confidence" in given else None
    family = "family" in given and _flag(*given["family"])
    if family and confidence is None:
        confidence = DEFAULT_CONFIDENCE
    threshold = str(given["threshold"][1]) if "threshold" in given else None
    return Demands(limits, baseline, confidence, family, threshold)


def _limit(rule: Rule, where: str, value: Any) -> Limit:
    """Read one limit from a number, or from a percentage if it may be a share."""
    text = value.strip() if isinstance(value, str) else None
    relative = bool(rule.share_of) and text is not None and text.endswith("%")
    share = f" or a percentage of {rule.share_of}, such as 5%" if rule.share_of else ""
    try:
        is_share = text is not None and text.endswith("%")
        if isinstance(value, bool) or (text is not None and not (rule.share_of or is_share)):
            raise ValueError
        amount = float(value) if text is None else parse_number(text)
    except (TypeError, ValueError, OverflowError):
        raise SettingsError(f"{where} is {str(value)[:40]!r}; it must be a number{share}") from None
    if not (math.isfinite(amount) and amount >= 0):
        raise SettingsError(f"{where} is {value}; it must be finite and not negative")
    if rule.unit == "rate" and not relative and amount > 1:
        raise SettingsError(f"{where} is {value}; a rate lies between 0 and 1")
    if rule.unit in ("pairs", "rows") and not relative and amount != int(amount):
        raise SettingsError(f"{where} is {value}; it must be a whole number{share}")
    return Limit(rule, amount, relative)


def _confidence(where: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0.5 <= value < 1):
        raise SettingsError(f"{where} is {value!r}; it must be at least 0.5 and below 1")
    return float(value)


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"{where} is {value!r}; it must be true or false")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{where} is {value!r}; it must be the folder of a run")
    return value


def write_gate_example(file: Path, table: str) -> None:
    """Append a table ``[gate]`` to a settings file.

    Raises
    ------
    SettingsError
        The file has such a table already, or cannot be read.
    RunError
        The file cannot be written.
    """
    before = ""
    if file.exists():
        if "gate" in load_config(file):
            raise SettingsError(f"{file}: has a table [gate] already; edit it, or remove it first")
        before = file.read_text(encoding="utf-8").rstrip() + "\n\n"
    write_text(file, before.lstrip() + table)
