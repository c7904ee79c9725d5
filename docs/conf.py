"""How Sphinx builds the site. What the pages hold is in tools/docs_pages.py, not here."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import millstream  # noqa: E402

project = "millstream"
author = "the maintainers of millstream"
copyright = author
release = version = millstream.__version__

extensions = [
    "docs_site",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns: list[str] = []
source_suffix = {".md": "markdown"}

# Pages are read on GitHub, too: plain Markdown, with anchors made as there.
myst_enable_extensions: list[str] = []
myst_heading_anchors = 3

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_title = f"millstream {release}"
html_show_sourcelink = False
html_copy_source = False
# Pages without pages below them.
_LONE = ("install", "five-minutes", "cookbook", "from-ray-data", "performance", "changelog")
html_sidebars: dict[str, list[str]] = {name: [] for name in ("index", *_LONE)}
html_theme_options = {
    "header_links_before_dropdown": 9,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
