"""Settings of the pages: Sphinx renders what `make run` has executed."""

import tomllib
from importlib.metadata import version as installed
from pathlib import Path

series = tomllib.loads((Path(__file__).parent / "series.toml").read_text("utf-8"))

project = html_title = series["title"]
author = ""
copyright = "the authors of the series, under Apache-2.0"
extensions = ["myst_nb"]
if series["pages"]:  # addresses of its own, once it has one
    html_baseurl = series["pages"] + "/"
    extensions.append("sphinx_sitemap")
    sitemap_url_scheme = "{link}"
exclude_patterns = ["*/SOURCES.md", "data/*/README.md"]

# The notebooks come executed; a page must ask for nothing from outside.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # tables, as in Jupyter
nb_ipywidgets_js = {}
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["wrap.css", "frames.css", "cheat_sheet.css"]
html_js_files = ["frames.js", "scroll.js", "tables.js"]
html_show_sourcelink = False
html_last_updated_fmt = None
html_copy_source = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader has it
ran_on = f"transformers {installed('transformers')}, torch {installed('torch')}"
html_theme_options = {
    "extra_footer": f"<p>Every cell ran on {ran_on}.</p>",
    "repository_url": series["repository"],
    "repository_branch": series["branch"],
    "path_to_docs": "notebooks",
    "use_repository_button": True,
    "use_source_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_persistent": [],  # the sidebar has a search box already
}
