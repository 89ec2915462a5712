"""The site of the documentation: `make docs` builds it."""

from importlib.metadata import version as installed

project = "gradtrace"
author = "The gradtrace authors"
copyright = "2026, the gradtrace authors"  # noqa: A001 (Sphinx's name)
version = release = installed("gradtrace")
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3  # [a link](page.md#to-a-heading) is checked
highlight_language = "none"
html_theme = "furo"
html_title = f"gradtrace {release}"
html_theme_options = {
    "source_repository": "https://github.com/gradtrace/gradtrace",
    "source_branch": "main",
    "source_directory": "docs/",
}
