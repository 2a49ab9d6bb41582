"""Put a verdict into words, which are the same in every format.

Class names come from the data. Every name that is shown is kept on one line and limited in length.
"""

from opis_cli import decimals
from opis_cli.judging.checks import Check
from opis_cli.judging.evidence import ErrorPair
from opis_cli.judging.gate import Verdict
from opis_cli.judging.limits import RULE, Unit
from opis_cli.text import number, on_scale, plain, rate, written_out


def figure(value: float | None, unit: Unit, *, points: bool = False) -> str:
    """Return a figure as text for people.

    If ``points``, the figure is a difference; differences of rates are in percentage points.
    """
    if value is None:
        return "–"
    if unit in ("pairs", "rows"):
        return f"{value:,.0f}"
    if unit == "distance":
        return written_out(value, 4) if points else decimals.text(value)
    if unit == "number":
        return written_out(value, 3 if points else 4)
    if points:
        return f"{written_out(100 * value, 3)} pp"
    return rate(value) if value >= 0 else "-" + rate(-value)


def signed(value: float | None, unit: Unit) -> str:
    """Return a difference with its sign; differences of rates are in percentage points."""
    text = figure(value, unit, points=True)
    return text if value is None or value < 0 else f"+{text}"


def margin(check: Check) -> str:
    """Return the distance of the deciding number from the limit, with its sign."""
    return signed(check.margin, check.unit)


def least_change(check: Check) -> str:
    """Return in a sentence the least change that the classes can show; empty without intervals."""
    if check.detectable is None:
        return ""
    least = figure(check.detectable, check.unit, points=True)
    return f"The least change that these classes can show is {least}"


def told(check: Check) -> str:
    """Return in a sentence what was found, what is allowed, and where the figure comes from."""
    if check.value is None:
        return f"{RULE[check.name].figure} is {check.remark}"
    found = _worsened(check) if RULE[check.name].is_worsening else _found(check)
    return f"{found}; {check.remark}" if check.remark else found


def _found(check: Check) -> str:
    """Say what a figure of the run is, and what is allowed."""
    name, value = RULE[check.name].figure, figure(check.value, check.unit)
    limit = figure(check.limit, check.unit)
    said = f"{value} {name}" if check.unit in ("pairs", "rows") else f"{name} is {value}"
    return f"{said}, needed {limit}" if check.least else f"{said}, allowed {limit}"


def _worsened(check: Check) -> str:
    """Say how a figure changed against the baseline, with its interval, and what is allowed.

    ``check.value`` is the worsening. If it is negative, the figure became better.
    """
    value, ends = check.value or 0.0, check.interval
    worse, better = ("fell", "rose") if check.name == "max-recall-drop" else ("rose", "fell")
    if check.name == "max-threshold-shift":
        worse = "moved"
    if value < 0 and ends is not None:
        ends = -ends[1], -ends[0]
    within = ""
    if ends is not None and check.confidence is not None:
        low, high = (figure(end, check.unit, points=True) for end in ends)
        span = f"{low.removesuffix(' pp')} to {high}"
        within = f" ({100 * check.confidence:.4g} %: {span})"
    name, limit = RULE[check.name].figure, figure(check.limit, check.unit, points=True)
    said = f"{name} {worse if value >= 0 else better} by "
    said += figure(abs(value), check.unit, points=True) + within
    return f"{said}, allowed {limit}" if value >= 0 else said


def sentence(check: Check) -> str:
    """Return a check in one line, with everything that decided it."""
    parts = [f"{check.name}: {told(check)}", f"Margin {margin(check)}", least_change(check)]
    return ". ".join(filter(None, parts))


_PAIRS = {
    "max-far": "Closest false accepts",
    "max-class-frr": "Farthest false rejects of the classes beyond the limit",
    "max-label-conflicts": "Equal rows with different labels",
}
_VALUE = 60
"""Most characters of a shown value."""


def pairs_title(check: Check) -> str:
    """Return what the pairs behind a failed check are."""
    return _PAIRS[check.name]


def pair_heads(check: Check) -> tuple[str, ...]:
    """Return the heads of ``pair_cells``."""
    columns = check.pairs[0].columns
    heads = [
        head
        for name, values in columns.items()
        for head in (plain(name, _VALUE), *[""] * (len(values) - 1))
    ]
    return (
        "rows",
        "class",
        "and class",
        "distance",
        *heads,
    )


def pair_cells(pair: ErrorPair) -> tuple[str, ...]:
    """Return rows, classes, distance and shown values of a pair as text."""
    second = f", gallery {pair.row_b}" if pair.in_gallery else f", {pair.row_b}"
    named = pair.class_a is not None and pair.class_a == pair.class_b
    return (
        f"{pair.row_a}{'' if pair.row_b is None else second}",
        "–" if pair.class_a is None else plain(pair.class_a),
        "same" if named else "–" if pair.class_b is None else plain(pair.class_b),
        number(pair.distance, 3),
        *(
            "–" if one is None else plain(one, _VALUE)
            for both in pair.columns.values()
            for one in both
        ),
    )


def pair_lines(check: Check) -> list[str]:
    """Return the pairs behind a failed check, a line each under a title; empty without pairs."""
    if not check.pairs:
        return []
    lines = []
    for pair in check.pairs:
        rows, one, two, distance, *shown = pair_cells(pair)
        of_rows = f"row {rows}" if pair.row_b is None else f"rows {rows}"
        of_classes = f"both {one}, " if two == "same" else f"{one} and {two}, "
        if pair.class_a is None:
            of_classes = ""
        lines.append(", ".join([f"{of_rows}: {of_classes}distance {distance}", *shown]))
    return [f"{pairs_title(check)}:", *lines]


def headline(verdict: Verdict) -> str:
    """Return the verdict in a few words."""
    if not verdict.checks:
        return "Nothing judged: no limit is set"
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
