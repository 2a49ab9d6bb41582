"""The house keeps its rules: quick help, arrows one way, nothing unpickled."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
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
TERMINAL = ("cli", "render/terminal", "__main__")
ORDER = (
    *("errors", "caches", "quantities", "values", "settings", "config"),
    *("records", "decimals", "text", "machine", "files"),
    *("embeddings", "counting", "evidence", "scoring", "statistics", "report"),
    *("judging", "remedies", "comparing", "threshold", "deciding", "render"),
    *("run", "comparison", "migration", "time_limit", "pipeline", "in_parts", "mending", "torch"),
    *("cli", "__main__"),
)
"""Files and folders of the package: each imports from itself and from those before it alone."""


def modules() -> dict[str, ast.Module]:
    return {
        file.relative_to(PACKAGE).with_suffix("").as_posix(): ast.parse(file.read_text())
        for file in PACKAGE.rglob("*.py")
    }


def imports(tree: ast.AST) -> set[str]:
    """Dotted names that a module imports, those that only a type checker sees too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def own_imports() -> dict[str, set[str]]:
    """Of each module, the modules of opis that it imports."""
    known = modules()
    return {
        name: {
            path
            for dotted in imports(tree)
            for parts in [dotted.split(".")]
            # A name is a module, or something in one.
            for path in ("/".join(parts[1:]), "/".join(parts[1:-1]))
            if parts[0] == "opis_cli" and path in known
        }
        for name, tree in known.items()
        if not name.endswith("__init__")
    }


def test_every_part_of_the_package_has_its_place():
    assert {name.split("/")[0] for name in modules()} - {"__init__"} == set(ORDER)


def test_arrows_go_one_way():
    place = {name: i for i, name in enumerate(ORDER)}
    upwards = [
        f"{module} imports {other}"
        for module, others in own_imports().items()
        for other in others
        if place[other.split("/")[0]] > place[module.split("/")[0]]
    ]
    assert not upwards, "\n".join(sorted(upwards))


def test_no_modules_import_one_another_in_a_circle():
    try:
        TopologicalSorter(own_imports()).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_only_the_command_line_knows_the_terminal():
    for module, tree in modules().items():
        if not module.startswith(TERMINAL):
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
