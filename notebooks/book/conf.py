"""Settings of the pages: Sphinx renders what `make run` has executed."""

import tomllib
from pathlib import Path

series = tomllib.loads((Path(__file__).parent / "series.toml").read_text("utf-8"))

project = html_title = series["title"]
author = ""
copyright = "the authors of the series, under Apache-2.0"
extensions = ["myst_nb"]
exclude_patterns = ["*/SOURCES.md", "data/*/README.md"]

# The notebooks come executed; a page must ask for nothing from outside.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # tables, as in Jupyter
nb_ipywidgets_js = {}
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["wrap.css", "frames.css"]
html_js_files = ["frames.js"]
html_show_sourcelink = False
html_last_updated_fmt = None
html_copy_source = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader has it
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_persistent": [],  # the sidebar has a search box already
}
