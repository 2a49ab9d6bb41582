"""Every setting of an evaluation in one frozen record: flag over ``opis.toml`` over default."""

import dataclasses
import numbers
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from opis_cli.errors import SettingsError

Metric = Literal["cosine", "euclidean", "distance", "score"]
"""The last two are of scored pairs, which have no vectors."""
Prefer = Literal["utility", "low-far", "low-frr", "worst-classes"]
OnBadRows = Literal["error", "drop"]
Engine = Literal["auto", "numpy", "numba", "torch", "dask"]
Device = Literal["cpu", "cuda"]
Dtype = Literal["float32", "tf32"]

CONFIG_FILE = "opis.toml"
CONFIG_TABLES = ("gate",)
_NUMBERS_AS_TEXT = ("threshold", "memory-limit", "memory_limit")
DEFAULT_MAX_FAR = 0.01


@dataclass(frozen=True, slots=True)
class Calibration:
    """The range of thresholds over which consistency is judged, as asked for.

    ``by`` is ``far`` or ``frr`` (``low`` and ``high`` are pooled rates) or ``distance``.
    """

    by: Literal["far", "frr", "distance"]
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.by}:{self.low!r}..{self.high!r}"

    @classmethod
    def parse(cls, text: str) -> "Calibration":
        """Read ``far:0.01..0.10``, ``frr:LOW..HIGH`` or ``distance:LOW..HIGH``."""
        match = re.fullmatch(r"\s*(far|frr|distance)\s*:\s*(\S+?)\s*\.\.\s*(\S+)\s*", text)
        try:
            if match is None:
                raise ValueError
            by, low, high = match[1], float(match[2]), float(match[3])
        except ValueError:
            raise SettingsError(
                f"--calibration {text!r} is not understood; write it as far:0.01..0.10, "
                "frr:0.01..0.10 or distance:0.3..0.5"
            ) from None
        if not low < high:
            raise SettingsError(f"--calibration {text}: the low end must be below the high end")
        if by != "distance" and not (low > 0 and high < 1):
            raise SettingsError(f"--calibration {text}: rates must lie between 0 and 1")
        if by == "distance" and not (low >= 0 and high < float("inf")):
            raise SettingsError(f"--calibration {text}: distances must be finite and not negative")
        return cls(by, low, high)  # type: ignore[arg-type]


_BY_CLASS = {
    "folds": (
        ("group_column", "within_column", "exclude_same", "gallery", "pairs"),
        "holds out classes with all pairs of their rows",
    ),
    "confidence": (
        ("group_column", "gallery", "pairs"),
        "takes a class with the pairs of its rows as the unit",
    ),
    "max_pairs": (
        ("within_column", "gallery", "pairs"),
        "draws classes with all pairs of their rows",
    ),
}
"""Settings that go by classes, what they do not go with, and why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an evaluation depends on.

    Names are those of the command line's options. ``None`` stands for "choose for me".
    """

    embedding_column: str | None = None
    label_column: str | None = None
    labels: str | None = None
    group_column: str | None = None
    within_column: str | None = None
    exclude_same: str | None = None
    gallery: str | None = None
    gallery_labels: str | None = None
    pairs: bool = False
    score_column: str | None = None
    higher_is_closer: bool | None = None
    metric: Metric = "cosine"
    calibration: str = "far:0.01..0.10"
    beta: float = 1.0
    eps: float = 0.1
    max_far: float | None = None
    max_frr: float | None = None
    threshold: str | None = None
    prefer: Prefer = "utility"
    on_bad_rows: OnBadRows = "error"
    engine: Engine = "auto"
    device: Device | None = None
    dtype: Dtype = "float32"
    scheduler: str | None = None
    threads: int | None = None
    memory_limit: str | None = None
    checkpoint: str | None = None
    seed: int = 0
    folds: int | None = None
    confidence: float | None = None
    max_pairs: int | None = None

    def __post_init__(self) -> None:
        for field, hint in get_type_hints(type(self)).items():
            value = _plain_value(getattr(self, field), hint, option(field))
            object.__setattr__(self, field, value)
            choices = _choices(hint)
            if field == "metric" and not self.pairs:
                choices = choices[:2]
            if choices and value is not None and value not in choices:
                raise SettingsError(f"{option(field)} is {value!r}; use {' or '.join(choices)}")
        for field in ("max_far", "max_frr", "eps", "confidence"):
            value = getattr(self, field)
            if value is not None and not 0 < value < 1:
                raise SettingsError(f"{option(field)} is {value:g}; it must lie between 0 and 1")
        if self.confidence is not None and self.confidence < 0.5:
            raise SettingsError(
                f"--confidence is {self.confidence:g}; it must be at least 0.5: below that, bounds "
                "would more likely break on other classes than hold"
            )
        if not 1e-3 <= self.beta <= 1e3:
            raise SettingsError(f"--beta is {self.beta:g}; it must lie between 0.001 and 1000")
        if self.seed < 0:
            raise SettingsError(f"--seed is {self.seed}; it must not be negative")
        if self.threads is not None and self.threads < 1:
            raise SettingsError(f"--threads is {self.threads}; it must be at least 1")
        for field, least in (("folds", 2), ("max_pairs", 1_000)):
            value = getattr(self, field)
            if value is not None and value < least:
                raise SettingsError(f"{option(field)} is {value}; it must be at least {least:,}")
        if self.prefer == "low-frr" and self.max_far is None and self.max_frr is not None:
            raise SettingsError(
                "--prefer low-frr takes the largest threshold that meets --max-far; give it"
            )
        if self.prefer == "low-far" and self.max_frr is None:
            raise SettingsError(
                "--prefer low-far takes the smallest threshold that meets --max-frr; give it"
            )
        for field, engine, given in (
            ("device", "torch", self.device is not None),
            ("dtype", "torch", self.dtype != "float32"),
            ("scheduler", "dask", self.scheduler is not None),
        ):
            if given and self.engine != engine:
                raise SettingsError(f"{option(field)} is for --engine {engine}; give both")
        self._check_pairs()
        self._check_units()
        if self.gallery_labels is not None and self.gallery is None:
            raise SettingsError("--gallery-labels is for --gallery; give both")
        parse_size(self.memory_limit)
        Calibration.parse(self.calibration)

    @property
    def gallery_columns(self) -> dict[str, bool]:
        """Those to read of a gallery: pairs are credited to queries, so it needs no groups."""
        return dataclasses.replace(self, group_column=None).columns

    def _check_pairs(self) -> None:
        """Refuse what scored pairs cannot have, and what only they have."""
        if not self.pairs:
            for field in ("score_column", "higher_is_closer"):
                if getattr(self, field) is not None:
                    raise SettingsError(f"{option(field)} is for --pairs; give both")
            return
        for field in ("labels", "within_column", "exclude_same", "gallery", "checkpoint"):
            if getattr(self, field) is not None:
                raise SettingsError(f"{option(field)} is for embeddings, not for --pairs")
        for field in ("embedding_column", "device", "scheduler"):
            if getattr(self, field) is not None:
                raise SettingsError(f"{option(field)} is for embeddings, not for --pairs")
        if self.engine not in ("auto", "numpy"):
            raise SettingsError("--engine is for embeddings; --pairs need none")
        if self.metric == "euclidean":
            raise SettingsError("--metric is for embeddings; --pairs have a distance already")
        if self.prefer == "worst-classes" and self.group_column is None:
            raise SettingsError("--prefer worst-classes with --pairs needs --group-column")

    def _check_units(self) -> None:
        """Refuse what goes by classes with all their pairs, where there are other pairs."""
        for field, (others, what) in _BY_CLASS.items():
            if getattr(self, field) is None:
                continue
            for other in others:
                if getattr(self, other) not in (None, False):
                    raise SettingsError(
                        f"{option(field)} {what}, so it does not go with {option(other)}"
                    )

    @property
    def calibration_range(self) -> Calibration:
        """The calibration range asked for."""
        return Calibration.parse(self.calibration)

    @property
    def columns(self) -> dict[str, bool]:
        """Columns to read beside the labels, and whether every row must have a value there."""
        asked = {self.exclude_same: False, self.group_column: True, self.within_column: True}
        return {name: needed for name, needed in asked.items() if name is not None}

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """``(max_far, max_frr)``, with the default where neither is given."""
        if self.max_far is None and self.max_frr is None:
            return DEFAULT_MAX_FAR, None
        return self.max_far, self.max_frr

    @property
    def memory_limit_bytes(self) -> int | None:
        """``memory_limit`` in bytes."""
        return parse_size(self.memory_limit)


def option(field: str) -> str:
    """The command line's spelling of a setting."""
    return "--" + field.replace("_", "-")


def parse_size(text: str | None) -> int | None:
    """Bytes in ``4GB``, ``500MB``, ``2GiB`` or a plain number."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?\s*", str(text))
    if match is None or float(match[1]) <= 0:
        raise SettingsError(f"--memory-limit {text!r} is not a size; write it as 4GB or 500MB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def load_config(path: Path | None) -> dict[str, Any]:
    """Read ``opis.toml``: the named file, else the one in the working directory, else nothing.

    Returns settings by field name, and tables (``gate``) as they are.

    Raises
    ------
    SettingsError
        The file is missing, is no TOML, or has a key that opis does not know.
    """
    if path is None:
        path = Path(CONFIG_FILE)
        if not path.exists():
            return {}
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    hints = get_type_hints(Settings)
    config: dict[str, Any] = {}
    for key, value in raw.items():
        field = key.replace("-", "_")
        if key in CONFIG_TABLES and isinstance(value, dict):
            config[key] = value
        elif field in config:
            raise SettingsError(f"{path}: {key!r} is given twice")
        elif field in hints:
            config[field] = _plain_value(value, hints[field], f"{path}: {key}")
        else:
            known = ", ".join(sorted(name.replace("_", "-") for name in hints))
            raise SettingsError(f"{path}: unknown key {key!r}; the keys are {known}")
    return config


def _plain_value(value: Any, hint: Any, where: str) -> Any:
    """The value as the plain type that a setting has; numbers of other libraries pass.

    Raises
    ------
    SettingsError
        It is of another type.
    """
    kinds = [kind for kind in (get_args(hint) or (hint,)) if isinstance(kind, type)]
    kinds += [str] if _choices(hint) else []
    if (value is None and type(None) in kinds) or (isinstance(value, bool) and bool in kinds):
        return value
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        if float in kinds:
            return float(value)
        if int in kinds and isinstance(value, numbers.Integral):
            return int(value)
        if where.endswith(_NUMBERS_AS_TEXT):
            return str(value)
    if str in kinds and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    names = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
    raise SettingsError(f"{where} must be a {names}, not {value!r}")


def _choices(hint: Any) -> list[str]:
    """The words that a setting may be; none where any value of its type may."""
    parts = (hint, *get_args(hint))
    return [word for part in parts if get_origin(part) is Literal for word in get_args(part)]


def merge(config: dict[str, Any], flags: dict[str, Any]) -> Settings:
    """Settings from a configuration file and flags; a flag that is ``None`` was not given."""
    names = {field.name for field in dataclasses.fields(Settings)}
    chosen = {key: value for key, value in config.items() if key in names}
    chosen |= {key: value for key, value in flags.items() if value is not None}
    unknown = sorted(set(chosen) - names)
    if unknown:
        raise SettingsError(
            f"unknown setting {unknown[0]!r}; the settings are {', '.join(sorted(names))}"
        )
    return Settings(**chosen)
