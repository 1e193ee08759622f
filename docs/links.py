"""Links that texts need not spell out, and which members of a class the reference shows.

- Names of the library in inline code, as in ``Dense(64, "relu")`` or ``net.fit``, lead to the reference; on the page on
  the notes settings do so too, as ``l2=0.01``.
- "Notes 003" in a docstring leads to that page.
- A link to a file in docs/examples, which can be followed where the sources are, leads to its page in the gallery.
"""

import inspect
import re

from docutils import nodes
from numpydoc.docscrape_sphinx import SphinxDocString
from sphinx import addnodes

import fastbp
import fastbp.display
import fastbp.interop

MODULES = fastbp.display, fastbp.interop, fastbp
NAMES = {name: f"{module.__name__}.{name}" for module in MODULES for name in module.__all__}
OBJECTS = {name: getattr(module, name) for module in MODULES for name in module.__all__}
VARIABLES = {"net": "Network", "clf": "MLPClassifier", "reg": "MLPRegressor"}  # as texts name objects
TAKES_SETTINGS = ("Network", "Network.fit", "Dense", "MLPClassifier")
TOKEN = re.compile(r"(?<![\w.\"'])[A-Za-z_][\w.]*\w")
SETTING = re.compile(r"(\w+)=")
NOTES = re.compile(r"\b([Nn]otes?\s+00[0-4])((?:(?:,| and)\s+00[0-4])*)\b")


def is_shown(member):
    """Whether the reference has this attribute of a class: a method of ours that is more than a line of help."""
    function = inspect.unwrap(getattr(member, "__func__", getattr(member, "fn", member)))
    return (
        callable(function)
        and (getattr(function, "__module__", None) or "").startswith("fastbp")
        and "\n\n" in (inspect.getdoc(function) or "")
    )


def target_of(name, owner=None):
    """Full name of the documented object that a dotted name in code stands for, or None.

    In the docstring of a class, the owner, its methods go by their own names.
    """
    if owner in OBJECTS and is_shown(inspect.getattr_static(OBJECTS[owner], name, None)):
        return f"{NAMES[owner]}.{name}"
    head, *rest = name.removeprefix("fastbp.").removeprefix("display.").removeprefix("interop.").split(".")
    head = VARIABLES.get(head, head) if rest else head
    if head not in NAMES:
        return None
    if rest and is_shown(inspect.getattr_static(OBJECTS[head], rest[0], None)):
        return f"{NAMES[head]}.{rest[0]}"
    return NAMES[head]


def taker_of(setting):
    """Full name of what has a parameter of this name, or None."""
    for name in TAKES_SETTINGS:
        head, _, method = name.partition(".")
        taker = getattr(OBJECTS[head], method) if method else OBJECTS[head]
        if setting in inspect.signature(taker).parameters:
            return f"fastbp.{name}"
    return None


def reference(target, text, docname):
    """A link to a documented object, to be resolved by Sphinx."""
    return addnodes.pending_xref(
        "", nodes.Text(text), refdomain="py", reftype="obj", reftarget=target, refdoc=docname, refwarn=True,
        refexplicit=True,
    )  # fmt: skip


def owner_of(node):
    """Name of the class whose docstring, or whose method's, this is part of, or None."""
    while node is not None and not (isinstance(node, addnodes.desc) and node["objtype"] == "class"):
        node = node.parent
    return None if node is None else node.next_node(addnodes.desc_signature)["fullname"].rpartition(".")[2]


def link_code(app, doctree):
    """Make names in inline code links."""
    docname = app.env.docname
    for literal in list(doctree.findall(nodes.literal)):
        parents = (nodes.reference, addnodes.pending_xref, nodes.title, addnodes.download_reference)
        parent = literal.parent
        while parent is not None and not isinstance(parent, parents):
            parent = parent.parent
        if parent is not None:
            continue
        code, owner, at, parts = literal.astext(), owner_of(literal), 0, []
        setting = SETTING.match(code) if docname == "notes" else None
        found = [(setting.span(1), taker_of(setting[1]))] if setting else []
        found += [(match.span(), target_of(match[0], owner)) for match in TOKEN.finditer(code)]
        for (start, end), target in found:
            if target is not None and start >= at:
                parts += [nodes.Text(code[at:start]), reference(target, code[start:end], docname)]
                at = end
        if parts:
            literal.children.clear()
            literal.extend([*parts, nodes.Text(code[at:])])


def link_gallery(app, doctree):
    """Make links to sources of examples links to their pages."""
    for link in list(doctree.findall(addnodes.download_reference)):
        place = re.search(r"examples/(\w+/\w+)\.py$", link["reftarget"])
        if place:
            page = addnodes.pending_xref(
                "", *link.children, refdomain="std", reftype="doc", reftarget=f"/gallery/{place[1]}",
                refdoc=app.env.docname, refwarn=True, refexplicit=True,
            )  # fmt: skip
            link.replace_self(page)


def link_notes(app, what, name, obj, options, lines):
    """Make "Notes 003" in a docstring a link, and "Notes 001 and 004" two; names that end in "_" are none."""

    def linked(match):
        text = f":ref:`{match[1]} <notes-{match[1][-3:]}>`"
        return text + re.sub("00[0-4]", lambda number: f":ref:`{number[0]} <notes-{number[0]}>`", match[2])

    text = re.sub(r"\((\w+_),\)", r"(``\1``,)", "\n".join(lines))
    lines[:] = NOTES.sub(linked, text).split("\n")


def resolve(app, env, node, content):
    """In docstrings of `fastbp.display` too, names are those of the package. A member that is not shown is no link."""
    if node["refdomain"] != "py":
        return None
    if hasattr(OBJECTS.get(node.get("py:class")), node["reftarget"]):
        return content
    target = f"fastbp.{node['reftarget']}"
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)


def skip_member(app, what, name, obj, skip, options):
    return skip or not is_shown(obj)


def keep_attributes():
    """Make numpydoc leave a class's descriptions of attributes, where it would take the shorter ones of properties."""
    process = SphinxDocString._process_param
    SphinxDocString._process_param = lambda self, name, description, _: process(self, name, description, False)


def setup(app):
    keep_attributes()
    app.connect("autodoc-process-docstring", link_notes, priority=900)  # after numpydoc
    app.connect("autodoc-skip-member", skip_member)
    app.connect("missing-reference", resolve)
    app.connect("doctree-read", link_code)
    app.connect("doctree-read", link_gallery)
    return {"parallel_read_safe": True}
