"""The house keeps its rules: quick help, arrows one way, nothing unpickled."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "opis_cli"
HEAVY = (
    "numpy",
    "numba",
    "scipy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "torch",
    "dask",
    "jinja2",
    "junitparser",
)
TERMINAL = {
    *("cli", "cli_gate", "cli_options", "cli_shared", "__main__", "progress"),
    *("summary", "summary_blocks", "summary_gate", "summary_margins", "summary_threshold"),
}
# A module may import from its own line or one above it.
LAYERS = [
    {"errors", "text", "decimals", "settings", "remote", "limits", "store", "__init__"},
    {"records"},
    {"arrow", "parquet", "gallery", "sampling", "tables", "distance", "borderline"},
    {"gaps", "curves"},
    {"embeddings", "readers"},
    {
        "engines",
        "grid",
        "scores",
        "machine",
        "report",
        "report_json",
        "protocols",
        "pilot",
        "search",
    },
    {"axis", "halves", "intervals", "bootstrap", "differentials", "folds", "report_json"},
    {"confidence", "noise"},
    {"recommend", "margins"},
    {"uncertainty", "operating"},
    {"drawing", "files", "plots", "exports"},
    {"resampled", "checkpoint", "runs"},
    {"comparison"},
    {"family"},
    {"checks", "models"},
    {"gate"},
    {"verdicts", "comparison_plots"},
    {"page"},
    {"pairs", "scored", "scored_counts"},
    {"pipeline", "progress", "summary_blocks"},
    {"summary_gate", "summary_margins", "summary_threshold"},
    {"summary"},
    {"cli_options", "cli_shared", "torch"},
    {"cli"},
    {"cli_gate"},
    {"__main__"},
]


def modules() -> dict[str, ast.Module]:
    return {
        str(file.relative_to(PACKAGE).with_suffix("")): ast.parse(file.read_text())
        for file in PACKAGE.rglob("*.py")
    }


def imports(tree: ast.Module) -> set[str]:
    """Dotted names that a module imports, but for those that only a type checker sees."""
    found = set()
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def test_arrows_go_one_way():
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    for module, tree in modules().items():
        own = level[module.split("/")[0]]
        for name in imports(tree):
            parts = name.split(".")
            if parts[0] == "opis_cli" and len(parts) > 1 and parts[1] in level:
                # Drawing is asked for by a run, and imported when it is.
                assert level[parts[1]] <= own, f"{module} imports {name}"


def test_only_the_command_line_knows_the_terminal():
    for module, tree in modules().items():
        if module not in TERMINAL:
            tops = {name.split(".")[0] for name in imports(tree)}
            assert not tops & {"typer", "rich", "click"}, module


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['opis', '--help']\n"
        "from opis_cli.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert "evaluate" in done.stdout


def test_nothing_is_unpickled_or_evaluated():
    for module, tree in modules().items():
        assert not {"pickle", "dill", "joblib"} & {n.split(".")[0] for n in imports(tree)}, module
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                assert getattr(node.func, "id", "") not in {"eval", "exec"}, module
                for word in node.keywords:
                    if word.arg == "allow_pickle":
                        assert getattr(word.value, "value", True) is False, module
