"""All commands of ``opis``. Each module adds its own to one application."""

from opis_cli.cli import compare, count, decide, explain, gate, migrate, remedy, report
from opis_cli.cli.commands import app

__all__ = ["app", "compare", "count", "decide", "explain", "gate", "migrate", "remedy", "report"]
