"""The documentation's site: `python -m sphinx -W --keep-going docs runs/docs`.

Nothing is fetched, when it is built or when it is read: no fonts, no scripts, and equations are
MathML, which browsers draw themselves.
"""

import sys
from pathlib import Path

import loren_jax

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))  # Sphinx finds extensions by the names of modules

project = "loren_jax"
author = "The loren_jax authors"
copyright = f"2026, {author}"
version = release = loren_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "equations",
    "generated_pages",
]
exclude_patterns = ["extensions", "**.ipynb_checkpoints"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

html_theme = "sphinx_book_theme"
html_title = "loren_jax"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}  # else the theme tells the console that it has none
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}

default_role = "code"  # single backticks of docstrings
pygments_style = "friendly"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # the docstrings say what arguments are, with their units
napoleon_use_ivar = True
napoleon_attr_annotations = False  # shapes such as `*stack` are no reStructuredText
napoleon_use_rtype = False
napoleon_use_admonition_for_examples = False

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_ipywidgets_js: dict = {}  # they would come from a server
nb_merge_streams = True
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
