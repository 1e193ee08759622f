"""The site: ``sphinx-build -W docs docs/_build/html``. It is built, and can be read, without a network."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for links.py and style.py

project = "fastbp"
copyright = "the fastbp maintainers"
release = metadata.version("fastbp")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "links",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "examples"]
nitpick_ignore_regex = [(r"py:\w+", r"sklearn\..*")]  # is not looked up, which would take a network
nitpicky = True  # a link that leads nowhere is a warning, and with -W an error
default_role = "literal"  # of which links.py makes links

toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # docstrings say more
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
copybutton_prompt_text = ">>> "

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/",
    "subsection_order": [f"examples/{name}" for name in ("principles", "training", "practice")],
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "doc_module": ("fastbp",),
    "reference_url": {"fastbp": None},
    "backreferences_dir": "gallery/backreferences",
    "reset_modules": ("matplotlib", "style.reset"),
    "image_srcset": ["2x"],
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"fastbp {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "logo": {"text": "fastbp"},
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"changelog": [], "notes": []}
