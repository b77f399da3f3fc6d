"""The site: python -m sphinx -W docs docs/_build, with the extra [docs]."""

import importlib
import importlib.util
import inspect
import os
import re
import shutil
import sys
from dataclasses import is_dataclass
from pathlib import Path
from unittest.mock import MagicMock

from docutils.nodes import SkipNode, reference
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import download_reference
from sphinx.errors import ConfigError
from sphinx.util.inspect import stringify_signature
from sphinx_gallery.sorting import FileNameSortKey

import emdref

HERE = Path(__file__).parent
if not (HERE.parent / "figures").is_dir():
    raise ConfigError("the site shows figures/, which an sdist does not hold: build it in a clone of the repository")
COPIED = {".html", ".csv", ".json", ".svg", ".py"}  # of the figures and of what the report links to
sys.path += [str(HERE), str(HERE.parent)]  # verdicts; and analysis, wherever the site is made from

project, author, copyright = "emdref", "The emdref developers", "The emdref developers"
version = release = emdref.__version__
extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "verdicts",
]
exclude_patterns = ["_build", "_templates", "examples", "live", "gallery/*.py", "gallery/*.md5", "gallery/*.json"]
suppress_warnings = ["config.cache"]  # the gallery's settings hold functions

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 4

plot_formats = ["svg"]  # drawn while the site is built, by docs/understand/pictures.py
plot_html_show_formats = plot_html_show_source_link = False
plot_rcparams = {"svg.hashsalt": "emdref", "savefig.bbox": "standard"}

highlight_options = {"python": {"stripnl": True}}  # doctest wants an empty line at the end of a block
default_role = "autolink"  # `emd` in a docstring is a link where there is a page of that name
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"  # docstrings say what arguments are
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": FileNameSortKey,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 1000,
    "write_computation_times": False,  # that page loads scripts from other hosts
    "image_srcset": ["2x"],
    "thumbnail_size": (400, 480),
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = f"emdref {release}"
html_show_sourcelink = False
html_static_path, html_css_files = ["_static"], ["site.css"]
html_math_renderer = "mathml"
html_sidebars = {"play": [], "results": []}  # no pages below them
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "footer_start": ["copyright"],
    "footer_end": [],
}


def words_alone(framework: str, *parts: str):
    """Import the losses for a framework where it is not installed: their pages need no more than their docstrings."""
    if importlib.util.find_spec(framework) is None:
        fake = MagicMock()
        fake.nn.Module, fake.autograd.Function = (
            type(name, (), {"__module__": framework}) for name in ("Module", "Function")
        )
        fake.autograd.function = fake.autograd
        fake.autograd._SingleLevelFunction = fake.autograd.Function
        fake.library.infer_schema.return_value = ""
        fakes = {framework: fake, **{f"{framework}.{part}": getattr(fake, part) for part in parts}}
        sys.modules.update(fakes)
        importlib.import_module(f"emdref.{framework}")
        for name in fakes:
            del sys.modules[name]


words_alone("torch", "nn", "autograd")
words_alone("jax", "numpy", "custom_derivatives")


def as_called(app, what, name, thing, options, signature, returned):
    """How a space is made, which its metaclass hides; nobody makes a result."""
    if is_dataclass(thing):
        return "", ""
    if what == "class" and issubclass(thing, emdref.Space):
        own = "__init__" in vars(thing)
        arguments = [*inspect.signature(thing.__init__).parameters.values()][1:] if own else []
        return stringify_signature(inspect.Signature(arguments), show_annotation=False), ""
    return None


def linked(app, what, name, thing, options, lines):
    """Where a docstring names a page of these, a link to it."""
    lines[:] = [re.sub(r"\bdocs/([\w/]+)\.md\b", r":doc:`/\1`", line) for line in lines]


def shown(app, doctree, docname):
    """A link to a figure leads to the copy that the site has, instead of saving another."""
    folder = (HERE / docname).parent
    for link in list(doctree.findall(download_reference)):
        path = (folder / link["reftarget"]).resolve()
        if path.parent == HERE.parent / "figures" and path.suffix in COPIED:
            copy = Path(os.path.relpath(HERE / "figures" / path.name, folder))
            link.replace_self(reference("", "", *link.children, refuri=copy.as_posix()))


def mathml(inline: bool):
    """Equations as MathML, which browsers draw and read aloud by themselves: no script and no other host."""

    def visit(self, node):
        tag = "span" if inline else "div"
        drawn = tex2mathml(node.astext(), as_block=not inline)
        drawn = drawn.replace('<mo stretchy="false">|', '<mo stretchy="false" lspace="0" rspace="0">|')
        drawn = re.sub("<mo>([⟨⟩])", r'<mo stretchy="false">\1', drawn)  # brackets as high as letters
        self.body.append(f'<{tag} class="math">{drawn}</{tag}>')
        raise SkipNode

    return visit, None


def whole_pages(app, error):
    """The page to play with, and the report with what it links to, are copied as they are."""
    if error or app.builder.name != "html":
        return
    out, root = Path(app.outdir), HERE.parent
    (out / "live").mkdir(exist_ok=True)
    shutil.copy(HERE / "live" / "index.html", out / "live")
    for path in (*root.glob("figures/*.*"), *root.glob("analysis/*/*.py")):
        if path.suffix in COPIED:
            target = out / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=mathml(True), block_renderers=mathml(False))
    app.connect("autodoc-process-signature", as_called)
    app.connect("autodoc-process-docstring", linked)
    app.connect("doctree-resolved", shown)
    app.connect("build-finished", whole_pages)
