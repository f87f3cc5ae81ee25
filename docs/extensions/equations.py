"""Equations as MathML, made by docutils: no script, no fonts, nothing to fetch."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def mathml(tex: str, *, as_block: bool = False) -> str:
    r"""An equation as MathML.

    Of large brackets docutils knows the left and the right ones, and of dots those with a place.
    """
    sides = lambda found: f"\\{found[1]}{'l' if found[2] in '([' else 'r'}{found[2]}"
    tex = re.sub(r"\\([bB]igg?)\s*([()\[\]])", sides, tex.replace(r"\dots", r"\ldots"))
    return tex2mathml(tex, as_block=as_block)


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """An equation within a line."""
    self.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def block(self: HTML5Translator, node: nodes.math_block) -> None:
    """An equation of its own lines, one paragraph for each part between empty lines."""
    self.body.append('<div class="equation">')
    for part in filter(str.strip, node.astext().split("\n\n")):
        self.body.append(mathml(part, as_block=True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the renderer and chooses it."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
