"""opis: which distance threshold do I deploy, and for whom does it fail?

>>> import opis_cli as opis
>>> run = opis.evaluate("embeddings.parquet")          # or opis.evaluate(vectors, labels)
>>> run.report.opis, run.report.recommendation.threshold
>>> run.plot()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from opis_cli.comparison import Comparison, compare
    from opis_cli.errors import OpisError
    from opis_cli.mending import Remedies, remedy
    from opis_cli.migration import Migration, migrate
    from opis_cli.pipeline import evaluate
    from opis_cli.remedies.artefact import load_remedy
    from opis_cli.report.records import Report
    from opis_cli.report.report_json import load_report
    from opis_cli.run import Run, load_run
    from opis_cli.threshold import Threshold, load_threshold

__all__ = [
    "Comparison",
    "Migration",
    "OpisError",
    "Remedies",
    "Report",
    "Run",
    "Threshold",
    "__version__",
    "compare",
    "evaluate",
    "load_remedy",
    "load_report",
    "load_run",
    "load_threshold",
    "migrate",
    "remedy",
]

# A name is imported on first use, so that `opis --help` starts quickly.
_HOMES = {
    "Comparison": "comparison",
    "Migration": "migration",
    "Remedies": "mending",
    "compare": "comparison",
    "OpisError": "errors",
    "Report": "report.records",
    "Run": "run",
    "Threshold": "threshold",
    "evaluate": "pipeline",
    "load_remedy": "remedies.artefact",
    "load_report": "report.report_json",
    "load_run": "run",
    "load_threshold": "threshold",
    "migrate": "migration",
    "remedy": "mending",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
