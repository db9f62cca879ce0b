"""Proves that a page shows the same whatever the reader's own settings are.

A small notebook runs in a kernel whose user has set matplotlib, pandas and IPython to
other things than the defaults, and which was not started in the notebook's folder.
"""

import subprocess

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook, new_output
from places import ROOT

from book import execute, sync_generated

TF32 = "torch.backends.cuda.matmul.allow_tf32"
SETUP = "from helpers import setup\nsetup()"
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
LOOK = f"""\
1
import matplotlib, pandas
print({TF32})
print(matplotlib.rcParams["figure.figsize"], pandas.get_option("display.precision"))
2"""


@pytest.fixture
def page():
    """Return the outputs of `setup()`, a plot and a look at settings.

    The kernel starts at the repository's root, as VS Code and papermill have it, and
    the library is imported before; a notebook's first cell finds the way.
    """
    bootstrap = sync_generated.bootstrap(sync_generated.chapters()[0])
    cells = [f"import torch, transformers\n{TF32} = True", bootstrap, SETUP, PLOT, LOOK]

    def run():
        notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
        options = {"timeout": 120, "coalesce_streams": True}
        options["resources"] = {"metadata": {"path": str(ROOT)}}
        NotebookClient(notebook, **options).execute(stderr=subprocess.DEVNULL)
        return notebook.cells[2:]

    return run


def shown(cell):
    kinds = []
    for output in cell.outputs:
        kinds += sorted(output.get("data", {}))
    return kinds


@pytest.mark.model
def test_hostile_settings_change_nothing(page, tmp_path, monkeypatch, record_fault):
    expected = page()
    (tmp_path / "matplotlibrc").write_text("figure.figsize: 2, 2\nfigure.dpi: 30\n")
    profile = tmp_path / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "mine.py").write_text(
        "import pandas; pandas.set_option('display.precision', 1)\n"
    )
    (profile / "ipython_config.py").write_text(
        "c.InteractiveShell.ast_node_interactivity = 'all'\n"
        "c.InlineBackend.figure_formats = {'svg'}\n"
    )
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    found = page()
    assert shown(found[1]) == shown(expected[1]) == ["image/png", "text/plain"]
    assert found[2].outputs == expected[2].outputs
    assert found[1].outputs == expected[1].outputs, "the very same picture"
    assert expected[0].outputs[0].text.startswith("Mode embedded")
    assert found[2].outputs[0].text.startswith("False\n"), "no TensorFloat-32"
    record_fault("MPLBACKEND=agg and settings of the user's own", "the same pictures")


def test_a_lost_picture_is_a_failure(tmp_path, record_fault):
    png = new_output("display_data", {"image/png": "iVBORw0KGgo="})
    cell = new_code_cell("plot()", outputs=[png, png])
    stored = new_notebook(cells=[cell])
    nbformat.write(stored, tmp_path / "page.ipynb")
    executed = nbformat.read(tmp_path / "page.ipynb", as_version=4)
    assert not execute.lost_pictures(tmp_path / "page.ipynb", executed)
    del executed.cells[0].outputs[1]
    said = execute.lost_pictures(tmp_path / "page.ipynb", executed)
    assert said == f"cell {cell.id} shows 1 of 2 pictures"
    record_fault("a cell that shows fewer pictures than are stored", said)
