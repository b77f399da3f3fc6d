"""The site: python -m sphinx -W docs docs/_build, with the extra [docs]."""

import importlib
import importlib.util
import shutil
import sys
from pathlib import Path
from unittest.mock import MagicMock

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx_gallery.sorting import FileNameSortKey

import emdref

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # verdicts

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
autodoc_typehints = "none"  # they stand with the parameters
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
    "image_srcset": ["2x"],
    "thumbnail_size": (400, 480),
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = f"emdref {release}"
html_show_sourcelink = False
html_static_path, html_css_files = ["_static"], ["site.css"]
html_math_renderer = "mathml"
html_sidebars = dict.fromkeys(("play", "results"), [])  # no pages below them
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


def mathml(inline: bool):
    """Equations as MathML, which browsers draw and read aloud by themselves: no script and no other host."""

    def visit(self, node):
        tag = "span" if inline else "div"
        self.body.append(f'<{tag} class="math">{tex2mathml(node.astext(), as_block=not inline)}</{tag}>')
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
        if path.suffix in {".html", ".csv", ".json", ".svg", ".py"}:
            target = out / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=mathml(True), block_renderers=mathml(False))
    app.connect("build-finished", whole_pages)
