"""How Sphinx builds these pages (``make docs``)."""

from __future__ import annotations

from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from docutils.utils.math.latex2mathml import tex2mathml  # type: ignore[import-untyped]
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode
from sphinx.writers.html5 import HTML5Translator

from docs.figures.stable_surface import EXPERIMENTAL
from recent_prune import __version__

project = "recent_prune"
version = release = __version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

html_math_renderer = "mathml"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_title = f"recent_prune {version}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False

default_role = "code"
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
# Names that say more than what they stand for.
autodoc_type_aliases = {
    name: name for name in ("BuildModel", "Config", "Estimator", "Inputs", "OnFault", "Rule")
}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are documented in the docstring of their class


def short_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Any) -> Any:
    """Link ``:class:`Ridge``` from any module: docstrings use the names that users import."""
    if node.get("refdomain") != "py":
        return None
    last = str(node["reftarget"]).rpartition(".")[2]
    entries = env.domains.python_domain.objects
    found = [name for name, entry in entries.items() if not entry.aliased and _last(name) == last]
    if len(found) != 1:
        return None
    entry = entries[found[0]]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, text, found[0])


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def formula(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """A formula as MathML, which browsers draw without a script from elsewhere."""
    block = isinstance(node, nodes.math_block)
    translator.body.append(tex2mathml(node.astext(), as_block=block))
    raise nodes.SkipNode


def told_experimental(
    _app: Sphinx, what: str, name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    """Say below the first sentence since when a name is experimental."""
    since = EXPERIMENTAL.get(_last(name))
    if since is not None and what in ("class", "function"):
        place = lines.index("") if "" in lines else len(lines)
        lines[place:place] = ["", f"*Experimental since {since}:* see :doc:`stable_surface`."]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", told_experimental)
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))
    app.connect("missing-reference", short_name)
