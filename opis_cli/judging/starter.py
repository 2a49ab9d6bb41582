"""The table ``[gate]`` to start with: limits that a model of little use does not hold.

A limit on FAR alone would pass any model, since the threshold is recommended to meet it. So limits
on FRR and recall@1 are set too. If a run is given, its own figures and some room are the limits.
"""

import math

from opis_cli.judging.limits import RULES, Rule
from opis_cli.report.evaluation import Evaluation

_ROOM = 0.05
"""How much worse than the run a rate may be."""
_RISE = 1.5
"""How many times the run's OPIS it may be."""
_SET = {"max-far": "0.01", "max-frr": "0.5", "min-recall-at-1": "0.85"}
"""Limits of the starter without a run: random vectors break the last two."""


def starter(run: Evaluation | None) -> str:
    """The table as text with comments, for ``opis.toml``.

    Parameters
    ----------
    run : Evaluation or None
        The run whose figures the limits follow, with some room.
    """
    limits = _SET if run is None else _limits_of(run)
    origin = "Change them to what you need." if run is None else "They follow the run given."
    lines = [
        "[gate]",
        "# Limits of `opis gate`, which ends with exit code 1 where one does not hold.",
        f"# {origin} Take away the # in front of others that you want.",
        "# A flag overrides its key.",
        "",
        *(_line(rule, limits.get(rule.name)) for rule in RULES if not rule.against_baseline),
        "",
        "# The threshold in use. Without it, rates are judged at the threshold",
        "# that the run recommends, which meets its bounds by construction.",
        '# threshold = "threshold.json"',
        "",
        "# Against an earlier run: absolute, or a share of its figure.",
        '# baseline = "runs/last"',
        *(_line(rule, None) for rule in RULES if rule.against_baseline),
        "",
        "# Fail only where the classes prove the worsening: chance alone fails a check 5 % of the",
        "# time, and one of several more often, but not with family = true.",
        "# confidence = 0.95",
        "# family = true",
    ]
    return "\n".join(lines) + "\n"


def _line(rule: Rule, limit: str | None) -> str:
    """A key with its meaning; a comment where no limit is set."""
    mark, value = ("# ", rule.example) if limit is None else ("", limit)
    return f"{mark + rule.name + ' = ' + value:<36} # {rule.about}"


def _limits_of(run: Evaluation) -> dict[str, str]:
    """Limits a little beyond the figures of a run; none on a figure that it lacks."""
    report, limits = run.report, {}
    max_far = run.settings.bounds[0]
    if max_far is not None:
        limits["max-far"] = f"{max_far:g}"
    frr = report.recommendation.frr if report.deployed is None else report.deployed.frr
    if frr is not None:
        limits["max-frr"] = f"{min(math.ceil(100 * (frr + _ROOM)), 100) / 100:g}"
    if report.recall_at_1 is not None:
        least = max(math.floor(100 * (report.recall_at_1 - _ROOM)), 0) / 100
        limits["min-recall-at-1"] = f"{least:g}"
    if report.opis is not None:
        limits["max-opis"] = f"{_RISE * report.opis:.2g}"
    return limits
