"""Settings of Jupyter's programs; set-up puts this file into the environment.

In HTML and slides, pictures keep their alt texts: nbconvert's templates know nothing
of them, and call every picture "No description has been provided".
"""

from html import escape


def keep_alt_texts(notebook, resources):
    """Turn each picture among the outputs into an `<img>` with its cell's alt text."""
    for cell in notebook.cells:
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
        for output in cell.get("outputs", []):
            if alt and "image/png" in output.get("data", {}):
                source = f"data:image/png;base64,{output.data.pop('image/png')}"
                tag = f'<img alt="{escape(alt, quote=True)}" src="{source}">'
                output.data["text/html"] = tag
    return notebook, resources


c = get_config()  # noqa: F821 (Jupyter's own)
c.HTMLExporter.preprocessors = [keep_alt_texts]
