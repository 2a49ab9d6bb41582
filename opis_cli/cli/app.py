"""All commands of ``opis``. Each module adds its own to one application."""

from opis_cli.cli import compare, decide, explain, gate, migrate, remedy, report
from opis_cli.cli.commands import app

__all__ = ["app", "compare", "decide", "explain", "gate", "migrate", "remedy", "report"]
