"""What ``train_tcm.py`` trains: tasks with a base loss each, and the networks of them."""

import json
from dataclasses import asdict, dataclass
from importlib import metadata


@dataclass(frozen=True, slots=True)
class Case:
    """A task and a base loss, with the weight at which TCM is added to it."""

    task: str
    base: str
    weight: float
    dim: int

    @property
    def name(self) -> str:
        return f"{self.task}-{self.base}" + ("-2d" if self.dim == 2 else "")

    @property
    def steps(self) -> int:
        """Training steps; a plane is so narrow that classes take long to find their places."""
        return 300 if self.task == "fonts" else 1_200 if self.dim == 2 else 400


CASES = (
    Case("digits", "ArcFace", 1, 2),
    Case("digits", "ArcFace", 1, 32),
    Case("digits", "NormalizedSoftmax", 1, 32),
    Case("fonts", "ProxyAnchor", 10, 64),
    Case("fonts", "NormalizedSoftmax", 10, 64),
    Case("fonts", "MultiSimilarity", 10, 64),
)
MORE_CASES = (
    Case("fonts", "ArcFace", 30, 64),
    Case("fonts", "SupCon", 10, 64),
)
SEEDS, MORE_SEEDS = (2, 3, 4), (2, 3, 4, 5, 6, 7)
SAMPLE, SAMPLE_SEED = CASES[3], 2


@dataclass(frozen=True, slots=True)
class Model:
    """One network to train: a case, a seed, and whether the TCM term is added."""

    case: Case
    seed: int
    tcm: bool
    steps: int

    @property
    def name(self) -> str:
        """Models in one folder share their test rows, so that ``opis compare`` takes them all."""
        flat = "-2d" if self.case.dim == 2 else ""
        added = "+TCM" if self.tcm else ""
        return f"{self.case.task}{flat}-seed{self.seed}/{self.case.base}{added}"

    @property
    def recipe(self) -> str:
        """What its embeddings depend on, as JSON."""
        versions = {name: metadata.version(name) for name in ("torch", "pytorch-metric-learning")}
        return json.dumps(asdict(self) | versions, sort_keys=True)
