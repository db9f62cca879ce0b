"""Proves that a cell may be run again: twice in a row, and after all the others.

A reader goes back and forth on a page. Each cell of a chapter is run twice, and what
is printed must be the stored output both times, by nbval's rules. Then the second
half is run once more, over what the whole page has left behind.
"""

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError
from nbval_hooks import run_cell

from book import sync_generated

pytestmark = pytest.mark.nightly


def printed(cell: IPyNbCell) -> str:
    """Return what a cell printed at its last run, as text."""
    said = []
    for output in cell.test_outputs or []:
        if output.output_type == "error":
            said.append(f"{output.ename}: {output.evalue}")
        else:
            said.append(output.get("text") or output.data.get("text/plain", ""))
    return "".join(said).strip()


def failure(cell: IPyNbCell) -> str | None:
    """Run a cell; return what is wrong with it, or None where all is well."""
    try:
        run_cell(cell)
    except pytest.skip.Exception:
        return None
    except NbCellError as error:
        return f"{error}\nprinted: {printed(cell)}"
    return None


@pytest.mark.parametrize("path", sync_generated.chapters(), ids=lambda p: p.name)
def test_any_cell_may_be_run_again(path, request):
    page = IPyNbFile.from_parent(request.session, path=path)
    cells = list(page.collect())
    wrong = []

    def run(cells, which):
        for cell in cells:
            if said := failure(cell):
                wrong.append(f"cell {cell.cell.id}, {which}: {said}")

    page.setup()
    try:
        for cell in cells:
            run([cell], "first run")
            run([cell], "second run")
        run(cells[len(cells) // 2 :], "again after the whole page")
    finally:
        page.teardown()
    assert not wrong, "\n\n".join([f"{len(wrong)} runs are wrong", *wrong])
