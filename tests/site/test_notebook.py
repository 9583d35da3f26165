"""The notebook of the documentation runs from its first cell to its last, with little training."""

import re

import pytest

from tests.docs.pages import ROOT

nbformat = pytest.importorskip("nbformat", reason="part of the extra dev")
nbclient = pytest.importorskip("nbclient", reason="part of the extra dev")
pytest.importorskip("ipykernel", reason="part of the extra dev")

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SMALL = {r"^STEPS = [\d_]+": "STEPS = 1024", r"n_eval_episodes=\d+": "n_eval_episodes=2"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_to_its_end(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for large, small in SMALL.items():
            cell.source = re.sub(large, small, cell.source)
    assert "STEPS = 1024" in "".join(cell.source for cell in notebook.cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "EPG of CAMAL" in printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_shows_what_it_printed_where_nobody_runs_it(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert all(cell.execution_count for cell in code)
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    assert all(picture.metadata.get("alt") for picture in pictures)
