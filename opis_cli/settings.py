"""The settings of an evaluation, in one frozen record.

A flag overrides ``opis.toml``, and ``opis.toml`` overrides the default.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from opis_cli.errors import SettingsError
from opis_cli.values import (
    Calibration,
    Costs,
    SearchBound,
    SearchBounds,
    choices_of,
    option,
    parse_seconds,
    parse_size,
    plain_value,
)

Metric = Literal["cosine", "euclidean", "hamming", "dot", "distance", "score"]
"""Metrics. The last two are for scored pairs, which have no vectors."""
Prefer = Literal["utility", "low-far", "low-frr", "worst-classes", "cost"]
OnBadRows = Literal["error", "drop"]
MissingScore = Literal["error", "reject", "drop"]
Engine = Literal["auto", "numpy", "numba", "torch", "dask"]
Device = Literal["cpu", "cuda"]
Dtype = Literal["float32", "tf32"]

DEFAULT_MAX_FAR = 0.01
BOUNDS = ("max_far", "max_frr", *get_args(SearchBound))
"""Settings that bound the recommended threshold."""
_OF_SEARCHES = (*get_args(SearchBound), "prior")
_FROM_BELOW = ("max_frr", "min_identification")
"""Bounds that a threshold meets from some value on. The others hold up to some value."""
_AS_IMPOSTORS = ":impostor"
"""End of ``ignore_label`` that keeps the rows as impostors of the others."""


_BY_CLASS = {
    "folds": (
        ("group_column", "within_column", "exclude_same", "gallery", "pairs"),
        "holds out classes with all pairs of their rows",
    ),
    "confidence": (
        ("group_column", "gallery", "pairs"),
        "takes a class with the pairs of its rows as the unit",
    ),
    "max_pairs": (("pairs",), "draws classes with all pairs of their rows"),
    "time_limit": (
        ("pairs", "checkpoint"),
        "draws classes with all pairs of their rows, by the speed of the moment",
    ),
}
"""Settings that need classes with all pairs of their rows.

Each value has the settings that exclude this one, and the reason as a part of a message.
"""


Compares = Literal["figures", "worst classes", "recommendation"]
"""What cannot be compared between two runs with different values of a setting: any figure, the
figures of the worst classes, or the recommendations."""


Panel = Literal[
    "Start here", "Input", "Which pairs", "Scored pairs", "Scoring", "Costs", "Trust", "Machine"
]
"""Titles of the panels of ``--help`` that have options of settings."""


def parse_ignored(given: str) -> tuple[str, bool]:
    """Return the label that ``ignore_label`` names, and whether its rows stay as impostors."""
    label = given.removesuffix(_AS_IMPOSTORS)
    return label, label != given


@dataclass(frozen=True, slots=True)
class About:
    """Facts about a setting other than its type and default.

    Attributes
    ----------
    help : str
        Text for ``--help`` and the reference. ``{choices}`` is replaced by the allowed words.
    panel : str
        Title of the panel of ``--help`` that has the option.
    shown : str
        Text for the default value. If it is empty, the value itself is shown.
    metavar : str, optional
        Name of the value in ``--help``.
    flags : tuple of str
        Spelling of the option, if it differs from the name of the setting.
    choices : tuple of str
        Words that the command line accepts. If it is empty, these are the words of the type.
    changes_counts : bool
        Whether the setting changes which pairs are counted or at which thresholds. If it does,
        partial counts that were made with another value are refused.
    compares : {"figures", "worst classes", "recommendation"}, optional
        What of two runs does not compare where they differ in this.
    is_path : bool
        Whether it names a file or folder: in ``opis.toml``, from the folder of that file.
    since : int
        First schema version of reports that contain the setting. In older reports it has its
        default.
    """

    help: str
    panel: Panel
    shown: str = ""
    metavar: str | None = None
    flags: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    changes_counts: bool = False
    compares: Compares | None = None
    is_path: bool = False
    since: int = 1


def _setting(default: Any, about: About) -> Any:
    return dataclasses.field(default=default, metadata={"about": about})


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of an evaluation. Each setting is declared only here.

    opis makes the command line's options, the key of a checkpoint, the rules for comparing runs,
    and the tables of the reference from these declarations. ``None`` lets opis choose a value.
    """

    embedding_column: str | None = _setting(
        None,
        About(
            "Column of vectors, or a pattern of numeric columns: 'emb_*'.",
            panel="Input",
            shown="guessed",
            changes_counts=True,
            since=2,
        ),
    )
    label_column: str | None = _setting(
        None,
        About(
            "Column of class labels.", panel="Input", shown="guessed", changes_counts=True, since=2
        ),
    )
    # `labels` and `gallery` do not set `changes_counts`: a checkpoint contains the digests of
    # their files instead.
    labels: str | None = _setting(
        None,
        About(
            "Labels file, one a row: .npy, .parquet, .csv, .tsv, text.",
            panel="Start here",
            metavar="FILE",
            is_path=True,
            since=2,
        ),
    )
    group_column: str | None = _setting(
        None,
        About(
            "Column of groups (customer, device, language) to judge instead of the classes.",
            panel="Which pairs",
            shown="the label",
            changes_counts=True,
            compares="figures",
            since=2,
        ),
    )
    within_column: str | None = _setting(
        None,
        About(
            "Only rows that share this column's value are pairs: tenant.",
            panel="Which pairs",
            changes_counts=True,
            compares="figures",
            since=2,
        ),
    )
    exclude_same: str | None = _setting(
        None,
        About(
            "Rows that share this column's value are no pair: photo, session.",
            panel="Which pairs",
            metavar="COLUMN",
            changes_counts=True,
            compares="figures",
            since=2,
        ),
    )
    gallery: str | None = _setting(
        None,
        About(
            "Embeddings to search SOURCE's rows in, its queries.",
            panel="Which pairs",
            metavar="SOURCE",
            compares="figures",
            is_path=True,
            since=2,
        ),
    )
    gallery_labels: str | None = _setting(
        None,
        About(
            "Labels file of the gallery.",
            panel="Which pairs",
            metavar="FILE",
            is_path=True,
            since=2,
        ),
    )
    pairs: bool = _setting(
        False,
        About(
            "SOURCE has scored pairs: columns score or distance, and genuine.",
            panel="Scored pairs",
            flags=("--pairs",),
            since=2,
        ),
    )
    score_column: str | None = _setting(
        None,
        About(
            "Column of scores of --pairs.", panel="Scored pairs", shown="score or distance", since=2
        ),
    )
    higher_is_closer: bool | None = _setting(
        None,
        About(
            "Which way round the scores of --pairs are.",
            panel="Scored pairs",
            shown="told from name or data",
            flags=("--higher-is-closer/--lower-is-closer",),
            since=2,
        ),
    )
    missing_score: MissingScore | None = _setting(
        None,
        About(
            "{choices}: pairs of --pairs without a score. reject counts them as never accepted.",
            panel="Scored pairs",
            shown="as --on-bad-rows",
            changes_counts=True,
            compares="figures",
            since=4,
        ),
    )
    metric: Metric = _setting(
        "cosine",
        About(
            "{choices}.",
            panel="Input",
            choices=("cosine", "euclidean", "hamming", "dot"),
            changes_counts=True,
            compares="figures",
        ),
    )
    remedy: str | None = _setting(
        None,
        About(
            "A fitted remedy to change the vectors by first (opis remedy --out).",
            panel="Input",
            metavar="DIR",
            is_path=True,
            since=5,
        ),
    )
    calibration: str = _setting(
        "far:0.01..0.10",
        About(
            "Range to judge consistency over: far:LOW..HIGH, frr:LOW..HIGH, distance:LOW..HIGH.",
            panel="Scoring",
            metavar="RANGE",
            changes_counts=True,
            compares="figures",
        ),
    )
    beta: float = _setting(
        1.0,
        About("Weight of few false rejects in the utility.", panel="Scoring", compares="figures"),
    )
    eps: float = _setting(
        0.1,
        About("Share of classes that count as worst.", panel="Scoring", compares="worst classes"),
    )
    max_far: float | None = _setting(
        None,
        About(
            "Bound on the pooled FAR.",
            panel="Start here",
            shown="0.01 if no bound is given",
            changes_counts=True,
            compares="recommendation",
            since=2,
        ),
    )
    max_frr: float | None = _setting(
        None,
        About(
            "Bound on the pooled FRR.",
            panel="Start here",
            changes_counts=True,
            compares="recommendation",
            since=2,
        ),
    )
    max_false_accepts_per_query: float | None = _setting(
        None,
        About(
            "Bound on the wrong rows that one search returns, on average.",
            panel="Scoring",
            changes_counts=True,
            compares="recommendation",
            since=5,
        ),
    )
    max_fpir: float | None = _setting(
        None,
        About(
            "Bound on the queries without a genuine --gallery row that find one.",
            panel="Scoring",
            compares="recommendation",
            since=5,
        ),
    )
    min_precision: float | None = _setting(
        None,
        About(
            "Least genuine share of the accepted pairs, at --prior.",
            panel="Scoring",
            compares="recommendation",
            since=5,
        ),
    )
    min_identification: float | None = _setting(
        None,
        About(
            "Least share of searches whose nearest row is right and accepted.",
            panel="Scoring",
            compares="recommendation",
            since=5,
        ),
    )
    threshold: str | None = _setting(
        None,
        About(
            "A deployed threshold to judge too: 0.2, similarity:0.8, l2:0.63, or a threshold.json.",
            panel="Start here",
            metavar="[SCALE:]T|threshold.json",
            changes_counts=True,
            is_path=True,
            since=2,
        ),
    )
    prefer: Prefer = _setting(
        "utility",
        About("Choice within the bounds: {choices}.", panel="Scoring", compares="recommendation"),
    )
    review: bool = _setting(
        False,
        About(
            "Two thresholds: accept by --max-far, refuse by --max-frr, review between.",
            panel="Scoring",
            flags=("--review",),
            compares="recommendation",
            since=5,
        ),
    )
    prior: float | None = _setting(
        None,
        About(
            "Share of genuine pairs where the threshold will be used.",
            panel="Costs",
            compares="recommendation",
            since=5,
        ),
    )
    cost_fa: float | None = _setting(
        None,
        About(
            "Cost of an accepted impostor pair.",
            panel="Costs",
            compares="recommendation",
            since=5,
        ),
    )
    cost_fr: float | None = _setting(
        None,
        About(
            "Cost of a rejected genuine pair.",
            panel="Costs",
            compares="recommendation",
            since=5,
        ),
    )
    cost_review: float | None = _setting(
        None,
        About(
            "Cost of a pair that a person reviews.",
            panel="Costs",
            compares="recommendation",
            since=5,
        ),
    )
    on_bad_rows: OnBadRows = _setting(
        "error", About("{choices}: nulls, NaN, zero vectors.", panel="Input", changes_counts=True)
    )
    ignore_label: str | None = _setting(
        None,
        About(
            "Leave out the rows of a label; with :impostor, keep them as rows without a class.",
            panel="Input",
            metavar="VALUE[:impostor]",
            changes_counts=True,
            compares="figures",
            since=3,
        ),
    )
    engine: Engine = _setting("auto", About("{choices}.", panel="Machine", changes_counts=True))
    device: Device | None = _setting(
        None,
        About(
            "{choices}, for --engine torch.",
            panel="Machine",
            shown="cuda if there is one",
            changes_counts=True,
            since=2,
        ),
    )
    dtype: Dtype = _setting(
        "float32",
        About(
            "float32, or tf32 for --engine torch.", panel="Machine", changes_counts=True, since=2
        ),
    )
    scheduler: str | None = _setting(
        None,
        About(
            "A cluster for --engine dask: tcp://HOST:PORT.",
            panel="Machine",
            shown="a local one",
            metavar="ADDRESS",
            since=2,
        ),
    )
    threads: int | None = _setting(
        None, About("Counting threads.", panel="Machine", shown="all processors", since=2)
    )
    memory_limit: str | None = _setting(
        None,
        About("Memory of the whole process: 4GB, 500MB.", panel="Machine", metavar="SIZE", since=2),
    )
    checkpoint: str | None = _setting(
        None,
        About(
            "Keep partial counts here, and go on from them.",
            panel="Machine",
            metavar="DIR",
            is_path=True,
            since=2,
        ),
    )
    seed: int = _setting(0, About("Seed of random choices.", panel="Trust", changes_counts=True))
    folds: int | None = _setting(
        None,
        About(
            "Try the threshold on held-out classes, in so many folds.",
            panel="Trust",
            metavar="K",
            changes_counts=True,
            since=2,
        ),
    )
    confidence: float | None = _setting(
        None,
        About(
            "Let the bounds hold on other classes with this confidence, as 0.95.",
            panel="Trust",
            shown="they hold on these",
            compares="recommendation",
            since=2,
        ),
    )
    max_pairs: int | None = _setting(
        None,
        About(
            "Estimate from whole classes drawn at random, with at most so many pairs.",
            panel="Which pairs",
            shown="all pairs",
            metavar="P",
            changes_counts=True,
            since=2,
        ),
    )
    # A time limit changes counts by the `max_pairs` that it leads to.
    time_limit: str | None = _setting(
        None,
        About(
            "Let the whole command take at most so long: 60s, 2min. Draws --max-pairs by itself.",
            panel="Which pairs",
            shown="none",
            metavar="TIME",
            since=6,
        ),
    )

    def __post_init__(self) -> None:
        for field, hint in get_type_hints(type(self)).items():
            value = plain_value(getattr(self, field), hint, option(field))
            object.__setattr__(self, field, value)
            choices = choices_of(hint)
            if field == "metric" and not self.pairs:
                choices = ABOUT[field].choices
            if choices and value is not None and value not in choices:
                raise SettingsError(f"{option(field)} is {value!r}; use {' or '.join(choices)}")
        rates = ("max_far", "max_frr", "max_fpir", "min_precision", "min_identification")
        for field in (*rates, "eps", "confidence", "prior"):
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
        bounded = {name for name in BOUNDS if getattr(self, name) is not None}
        if self.prefer == "low-frr" and bounded and bounded <= set(_FROM_BELOW):
            raise SettingsError(
                "--prefer=low-frr takes the largest threshold that meets --max-far; give it"
            )
        if self.prefer == "low-far" and not bounded & set(_FROM_BELOW):
            raise SettingsError(
                "--prefer=low-far takes the smallest threshold that meets --max-frr; give it"
            )
        self._check_search_bounds()
        self._check_costs()
        for field, engine, given in (
            ("device", "torch", self.device is not None),
            ("dtype", "torch", self.dtype != "float32"),
            ("scheduler", "dask", self.scheduler is not None),
        ):
            if given and self.engine != engine:
                raise SettingsError(f"{option(field)} is for --engine={engine}; give both")
        self._check_pairs()
        self._check_units()
        if self.ignored_label[1]:
            for field in ("gallery", "max_pairs", "time_limit"):
                if getattr(self, field) is not None:
                    raise SettingsError(
                        f"--ignore-label=VALUE{_AS_IMPOSTORS} does not go with {option(field)}; "
                        "leave the rows out: --ignore-label=VALUE"
                    )
        if self.gallery_labels is not None and self.gallery is None:
            raise SettingsError("--gallery-labels is for --gallery; give both")
        parse_size(self.memory_limit)
        parse_seconds(self.time_limit)
        if self.calibration_range.by == "distance" and self.metric == "dot":
            raise SettingsError(
                f"--calibration={self.calibration}: inner products are no distances; give far: or "
                "frr:"
            )

    def _check_costs(self) -> None:
        """Refuse costs that are not usable, and two thresholds or a choice without what they need.

        Costs weigh errors against each other, so those of both errors are given, with the prior.
        """
        if self.review and None in (self.max_far, self.max_frr):
            raise SettingsError(
                "--review accepts up to --max-far and refuses beyond --max-frr; give both"
            )
        for field in ("cost_fa", "cost_fr", "cost_review"):
            value = getattr(self, field)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingsError(f"{option(field)} is {value:g}; it must be finite and above 0")
        if self.cost_review is not None and not self.review:
            raise SettingsError("--cost-review is for --review; give both")
        needed = {"--cost-fa": self.cost_fa, "--cost-fr": self.cost_fr, "--prior": self.prior}
        lacking = [name for name, value in needed.items() if value is None]
        if not lacking:
            return
        asking = [name for name in ("--cost-fa", "--cost-fr") if name not in lacking]
        asking += ["--cost-review"] if self.cost_review is not None else []
        asking += ["--prefer=cost"] if self.prefer == "cost" else []
        if asking:
            raise SettingsError(
                f"{asking[0]} needs --cost-fa, --cost-fr and --prior, the share of genuine pairs "
                f"where the threshold will be used; give {' and '.join(lacking)}"
            )

    def _check_search_bounds(self) -> None:
        """Refuse bounds on searches that are not usable, or that other settings prevent."""
        most = self.max_false_accepts_per_query
        if most is not None and not (math.isfinite(most) and most > 0):
            raise SettingsError(
                f"--max-false-accepts-per-query is {most:g}; it must be finite and above 0"
            )
        if self.max_fpir is not None and self.gallery is None:
            raise SettingsError(
                "--max-fpir bounds what queries without a genuine gallery row find; give --gallery"
            )
        if self.min_precision is not None and self.prior is None:
            raise SettingsError(
                "--min-precision depends on the share of genuine pairs; give --prior"
            )
        for field in self.search_bounds.given:
            if self.review:
                raise SettingsError(
                    f"--review goes by --max-far and --max-frr, not by {option(field)}"
                )
            if self.confidence is not None:
                raise SettingsError(
                    f"--confidence holds --max-far and --max-frr, not {option(field)}"
                )
            if self.pairs and field != "min_precision":
                raise SettingsError(f"{option(field)} is for embeddings: --pairs have no searches")

    @property
    def search_bounds(self) -> SearchBounds:
        """The bounds on figures of searches."""
        return SearchBounds(**{name: getattr(self, name) for name in _OF_SEARCHES})

    @property
    def costs(self) -> Costs | None:
        """What the errors cost, or None without costs."""
        if self.cost_fa is None or self.cost_fr is None or self.prior is None:
            return None
        return Costs(self.cost_fa, self.cost_fr, self.cost_review, self.prior)

    @property
    def ignored_label(self) -> tuple[str | None, bool]:
        """The label to ignore, and whether its rows are kept as rows without a class."""
        return (None, False) if self.ignore_label is None else parse_ignored(self.ignore_label)

    @property
    def without_score(self) -> MissingScore:
        """What to do with scored pairs that lack a score: by default as with other bad rows."""
        return self.missing_score or self.on_bad_rows

    @property
    def gallery_columns(self) -> dict[str, bool]:
        """Columns to read from a gallery. It needs no groups: a pair counts only for the query."""
        return dataclasses.replace(self, group_column=None).columns

    @property
    def optional_gallery_columns(self) -> tuple[str, ...]:
        """Columns to read from a gallery if it has them: groups, to count by pair of groups."""
        group = self.group_column
        return () if group is None or group in self.gallery_columns else (group,)

    def _check_pairs(self) -> None:
        """Refuse settings that are only for embeddings or only for scored pairs."""
        if not self.pairs:
            for field in ("score_column", "higher_is_closer", "missing_score"):
                if getattr(self, field) is not None:
                    raise SettingsError(f"{option(field)} is for --pairs; give both")
            return
        for field in ("labels", "within_column", "exclude_same", "gallery", "checkpoint"):
            if getattr(self, field) is not None:
                raise SettingsError(f"{option(field)} is for embeddings, not for --pairs")
        for field in ("embedding_column", "device", "scheduler", "ignore_label"):
            if getattr(self, field) is not None:
                raise SettingsError(f"{option(field)} is for embeddings, not for --pairs")
        if self.engine not in ("auto", "numpy"):
            raise SettingsError("--engine is for embeddings; --pairs need none")
        if self.metric in ("euclidean", "hamming", "dot"):
            raise SettingsError("--metric is for embeddings; --pairs have a distance already")
        if self.prefer == "worst-classes" and self.group_column is None:
            raise SettingsError("--prefer=worst-classes with --pairs needs --group-column")

    def _check_units(self) -> None:
        """Refuse settings that need classes with all their pairs, if other settings prevent it."""
        for field, (others, what) in _BY_CLASS.items():
            if getattr(self, field) is None:
                continue
            for other in others:
                if getattr(self, other) not in (None, False):
                    raise SettingsError(
                        f"{option(field)} {what}, so it does not go with {option(other)}"
                    )
        if self.time_limit is not None and self.engine == "dask":
            raise SettingsError(
                "--time-limit goes by the speed of this machine, not of a cluster: with "
                "--engine=dask, give --max-pairs"
            )
        if self.confidence is None or self.within_column is None:
            return
        for field in ("max_pairs", "time_limit"):
            if getattr(self, field) is not None:
                raise SettingsError(
                    f"{option(field)} draws whole tenants with --within-column, so --confidence "
                    "has no units: it takes a class with the pairs of its rows"
                )

    @property
    def calibration_range(self) -> Calibration:
        """The calibration range that the user asked for."""
        return Calibration.parse(self.calibration)

    @property
    def columns(self) -> dict[str, bool]:
        """Columns to read in addition to the labels, and whether each row must have a value."""
        asked = {self.exclude_same: False, self.group_column: True, self.within_column: True}
        return {name: needed for name, needed in asked.items() if name is not None}

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """``(max_far, max_frr)``. If neither is given, ``max_far`` has its default.

        The threshold of least cost needs no bound, so it has no default.
        """
        given = any(getattr(self, name) is not None for name in BOUNDS)
        if not given and self.prefer != "cost":
            return DEFAULT_MAX_FAR, None
        return self.max_far, self.max_frr

    @property
    def time_limit_seconds(self) -> float | None:
        """``time_limit`` in seconds."""
        return parse_seconds(self.time_limit)

    @property
    def memory_limit_bytes(self) -> int | None:
        """``memory_limit`` in bytes."""
        return parse_size(self.memory_limit)


ABOUT: dict[str, About] = {
    field.name: field.metadata["about"] for field in dataclasses.fields(Settings)
}
"""Facts about each setting, by its name."""
