"""Proves that a chapter can be taken away in other formats by Jupyter's own program:
a script that Python can read, and pages whose pictures say what they show."""

import ast
import os
import re
import shutil
import subprocess
import sys

import pytest
from places import NOTEBOOKS

from book import bootstrap, sync_generated

CHAPTER = sync_generated.chapters()[0]


def alt_texts(page):
    """Return what the pictures among a page's outputs say that they show."""
    assert "No description" not in page
    return re.findall(r'<img alt="([^"]+)"[^>]* src="data:image/png', page)


@pytest.mark.parametrize("form", ["script", "python"])
def test_a_script_is_python_and_magics_are_calls(form):
    from nbconvert.exporters import get_exporter

    source, resources = get_exporter(form)().from_filename(str(CHAPTER))
    assert resources["output_extension"] == ".py"
    assert "get_ipython()" in source
    assert len(ast.parse(source).body) > 30


def test_slides_say_what_their_pictures_show():
    from nbconvert.exporters import get_exporter
    from traitlets.config import PyFileConfigLoader

    settings = PyFileConfigLoader("jupyter_config.py", str(NOTEBOOKS / "book"))
    exporter = get_exporter("slides")(config=settings.load_config())
    page, _ = exporter.from_filename(str(CHAPTER))
    assert min(len(alt.split()) for alt in alt_texts(page)) >= 8


@pytest.mark.model  # a process of its own
def test_an_environment_converts_with_alt_texts(tmp_path):
    bootstrap.set_up_jupyter(str(tmp_path))
    settings = {"JUPYTER_CONFIG_PATH": str(tmp_path / "etc" / "jupyter")}
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", str(CHAPTER)]
        + ["--output-dir", str(tmp_path)],
        env=os.environ | settings,
        check=True,
        capture_output=True,
    )
    page = (tmp_path / f"{CHAPTER.stem}.html").read_text("utf-8")
    assert len(alt_texts(page)) >= 2


@pytest.mark.skipif(not shutil.which("xelatex"), reason="PDF needs LaTeX (xelatex)")
def test_a_pdf_is_written_where_there_is_latex():
    from nbconvert.exporters import PDFExporter

    page, _ = PDFExporter().from_filename(str(CHAPTER))
    assert page.startswith(b"%PDF")
