"""Proves that a notebook starts in Colab, by simulation.

An empty folder holds the notebook alone; a stand-in `google.colab` is loaded; git is
told to take the repository's address from this clone. The first cells must run.
"""

import os
import subprocess
import sys
from pathlib import Path

import lists
import nbformat
import pytest
from nbclient import NotebookClient
from test_hygiene import PATHS, ROOT


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A repository with what this working tree holds, committed."""
    origin = tmp_path_factory.mktemp("origin") / "repository"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(origin)]
    subprocess.check_call(["git", "clone", "--quiet", str(ROOT), str(origin)])
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(command, cwd=ROOT, text=True).splitlines():
        if (ROOT / name).is_file():
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            (origin / name).write_bytes((ROOT / name).read_bytes())
    subprocess.check_call([*git, "add", "--all"])
    subprocess.check_call([*git, "commit", "--quiet", "--allow-empty", "-m", "now"])
    subprocess.check_call([*git, "branch", "--force", "--move", "main"])
    return origin


@pytest.mark.parametrize("path", PATHS, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_the_first_cells_run_in_colab(path, origin, tmp_path, monkeypatch, seen):
    stand_in = tmp_path / "site" / "google" / "colab"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text("")
    # As in Colab, the module is loaded before the first cell.
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("import google.colab")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    both = os.pathsep.join([str(tmp_path / "site"), os.environ["PYTHONPATH"]])
    monkeypatch.setenv("PYTHONPATH", both)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{origin}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", lists.series()["repository"])
    content = tmp_path / "content"
    content.mkdir()

    notebook = nbformat.read(path, as_version=4)
    code = [(i, c) for i, c in enumerate(notebook.cells) if c.cell_type == "code"]
    loads = [i for i, c in code if "model_for(" in c.source]
    # Up to the first model, or, where a page needs none, up to the setup.
    end = min(loads, default=next(i for i, c in code if c.id == "setup"))
    notebook.cells = notebook.cells[: end + 1]
    notebook.cells.append(nbformat.v4.new_code_cell("import os; print(os.getcwd())"))
    place = {"metadata": {"path": str(content)}}
    client = NotebookClient(notebook, timeout=120, resources=place)
    client.execute(stderr=subprocess.DEVNULL)
    where = Path(notebook.cells[-1].outputs[0].text.strip())
    assert where == content / "series" / "notebooks"
    said = {
        c.id: "".join(output.get("text", "") for output in c.get("outputs", []))
        for c in notebook.cells
    }
    assert "Mode embedded" in said["setup"]
    assert "torch" not in said["bootstrap"], "pip was about to install torch"
    seen(f"Colab: nothing there but {path.name}", "it gets the series and runs")


def test_the_cell_does_nothing_elsewhere():
    code = lists.bootstrap(PATHS[0])
    assert 'if "google.colab" in sys.modules' in code
    plain = [c for c in code.splitlines() if c.strip().startswith(("!", "%"))]
    assert all(line.startswith("    ") for line in plain), "a command outside the if"


def test_pip_would_not_replace_colabs_torch():
    """With torch there, the ranges ask pip for nothing that has to do with torch."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
    done = subprocess.run(
        [*command, "--no-index", "-r", str(ROOT / "transformers_requirements.txt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "torch" not in done.stdout
