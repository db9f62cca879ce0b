"""Every page is right on an accelerator: no cell mixes devices.

On a machine with an accelerator the chapters and solutions run on that one. Elsewhere
they run on one that is pretended (tests/accelerator): its arithmetic is the CPU's, and
it refuses what CUDA refuses, so a forgotten `.to(model.device)` or `.cpu()` stops the
cell.
"""

from __future__ import annotations

from functools import cache

import nbformat
import pytest
from accelerator.pages import failed_cells

from book.execute import NOTEBOOKS, notebooks


@cache
def pretend() -> bool:
    """Return whether the accelerator has to be pretended; skip where it cannot be."""
    import torch
    from torch.utils import backend_registration

    if torch.accelerator.is_available():
        return False
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip(f"torch {torch.__version__} takes no backend written in Python")
    return True


def name(path):
    return path.relative_to(NOTEBOOKS).as_posix()


# By day the chapter that teaches the idiom; the others, and the solutions, at night:
# together they take as long as the rest of the suite.
PAGES = [
    pytest.param(path, marks=[pytest.mark.nightly] * (number > 0))
    for number, path in enumerate(notebooks())
]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_cell_runs_on_an_accelerator(path):
    failed = failed_cells(path, pretend())
    assert not failed, "\n".join(map(str, ["cells that fail:", *failed]))


PAGE = {
    "load": "import torch\n"
    "accelerator = torch.accelerator.current_accelerator()\n"
    "model = torch.nn.Linear(2, 2).to(accelerator)",
    "mixed": "outputs = model(torch.ones(2))",
    "right": "outputs = model(torch.ones(2).to(model.weight.device))",
    "array": "outputs.detach().numpy()",
    "meant": "model(torch.ones(2))",
    "same": "assert outputs.detach().cpu().numpy().shape == (2,)",
    "follows": "nothing_of_that_name",
    "checked": "print('01.1: your answer raises RuntimeError')",
}


def test_a_page_that_mixes_devices_is_caught_at_the_cell(tmp_path):
    notebook = nbformat.v4.new_notebook()
    for place, code in PAGE.items():
        cell = nbformat.v4.new_code_cell(code, id=place)
        cell.metadata["tags"] = ["raises-exception"] if place == "meant" else []
        if place == "checked":
            text = "01.1: right.\n"
            cell.outputs = [nbformat.v4.new_output("stream", text=text)]
        notebook.cells.append(cell)
    nbformat.write(notebook, tmp_path / "page.ipynb")
    failed = failed_cells(tmp_path / "page.ipynb", pretend())
    assert [cell.id for cell in failed] == ["mixed", "array", "follows", "checked"]
    assert [cell.mixes_devices for cell in failed] == [True, True, False, False]
