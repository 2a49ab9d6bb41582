"""Put a verdict into words, which are the same in every format.

Class names come from the data. Every name that is shown is kept on one line and limited in length.
"""

from opis_cli import decimals
from opis_cli.judging.checks import Check
from opis_cli.judging.gate import Verdict
from opis_cli.judging.limits import Unit
from opis_cli.text import number, on_scale, plain, rate

_AGAINST = ("max-opis-increase", "max-frr-increase", "max-recall-drop", "max-threshold-shift")


def figure(value: float | None, unit: Unit, *, points: bool = False) -> str:
    """Return a figure as text for people.

    If ``points``, the figure is a difference; differences of rates are in percentage points.
    """
    if value is None:
        return "–"
    if unit == "distance":
        return number(value, 4) if points else decimals.text(value)
    if unit == "number":
        return number(value, 3 if points else 4)
    if points:
        return f"{100 * value:.3g} pp"
    return rate(value) if value >= 0 else "-" + rate(-value)


def signed(value: float | None, unit: Unit) -> str:
    """Return a difference with its sign; differences of rates are in percentage points."""
    text = figure(value, unit, points=True)
    return text if value is None or value < 0 else f"+{text}"


def cells(check: Check) -> tuple[str, str, str]:
    """Return value, limit and margin of a check as text; the limit has its direction."""
    worse = check.baseline is not None or check.name in _AGAINST
    sign = ">=" if check.least else "<="
    return (
        figure(check.value, check.unit, points=worse),
        f"{sign} {figure(check.limit, check.unit, points=worse)}",
        signed(check.margin, check.unit),
    )


def evidence(check: Check) -> str:
    """Return the interval of a worsening, and the least worsening that the classes can show.

    The text is empty if the check has no interval.
    """
    if check.interval is None or check.detectable is None or check.confidence is None:
        return ""
    low, high = (figure(end, check.unit, points=True) for end in check.interval)
    least = figure(check.detectable, check.unit, points=True)
    level = f"{100 * check.confidence:.4g} %"
    return f"{low} to {high}, each end at {level}; the least that these classes can show is {least}"


def sentence(check: Check) -> str:
    """Return a check in one line, with everything that decided it."""
    value, limit, margin = cells(check)
    parts = [f"{check.name}: {value}, limit {limit}, margin {margin}"]
    parts += [text for text in (check.remark, evidence(check)) if text]
    return ". ".join(parts)


def headline(verdict: Verdict) -> str:
    """Return the verdict in a few words."""
    checks = "check" if len(verdict.checks) == 1 else "checks"
    if verdict.passed:
        return f"Gate passed: {len(verdict.checks)} {checks}"
    return f"Gate failed: {len(verdict.failed)} of {len(verdict.checks)} {checks}"


def subject(verdict: Verdict) -> str:
    """Return in one line what was judged, against which baseline, and at which threshold."""
    parts = [plain(verdict.run, 120)]
    if verdict.baseline is not None:
        parts.append(f"against {plain(verdict.baseline.path, 120)}")
    if verdict.judged is not None:
        at = verdict.judged
        parts.append(f"at the {at.kind} {on_scale(at.threshold, verdict.metric)}")
    return " ".join(parts)
