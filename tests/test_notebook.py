"""The notebook of the sample data runs from top to bottom, and shows what it promises."""

import warnings
from importlib.util import find_spec

import data
import pytest

NOTEBOOK = data.SAMPLES / "tour.ipynb"
pytestmark = [
    pytest.mark.optional,
    pytest.mark.skipif(
        find_spec("nbclient") is None or find_spec("ipykernel") is None,
        reason="needs pip install nbclient ipykernel",
    ),
]


@pytest.fixture(scope="module")
def executed():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # It is stored without outputs: they would hold for one processor.
    assert not any(cell.get("outputs") for cell in notebook.cells)
    with warnings.catch_warnings():
        # Those of the libraries that drive the kernel are not ours.
        warnings.simplefilter("ignore")
        resources = {"metadata": {"path": str(data.SAMPLES)}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    return {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def test_a_run_shows_its_summary_and_its_picture(executed):
    (outputs,) = (found for source, found in executed.items() if source.endswith("\nrun"))
    shown = outputs[-1]["data"]
    assert "Deploy" in shown["text/html"] and "data:image/png" in shown["text/html"]
    assert shown["text/plain"].startswith("<Run of wordnet.parquet, 873 rows")


def test_pictures_and_tables_are_shown_and_nothing_is_warned(executed):
    kinds = [set(one.get("data", ())) for found in executed.values() for one in found]
    assert sum("image/png" in kind for kind in kinds) >= 3
    assert sum("text/html" in kind for kind in kinds) >= 4
    names = [one.get("name") for found in executed.values() for one in found]
    assert "stderr" not in names
