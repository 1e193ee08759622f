"""Code in README.md, the guide and docstrings does what stands beside it. That in docs/notes.md is in test_laws.py."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastbp
import fastbp.display

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.*"))]


def python_blocks(path):
    """Blocks of Python in a page, Markdown or reStructuredText."""
    pattern = "^```python\n(.*?)^```" if path.suffix == ".md" else r"^\.\. code-block:: python\n\n((?: [^\n]*\n|\n)+)"
    return [textwrap.dedent(block) for block in re.findall(pattern, path.read_text(encoding="utf-8"), re.M | re.S)]


OPTIONAL = "onnx",  # packages that examples may need whose names are in theirs


def outputs(code):
    """Statements of the code one by one, and for expressions what their line says of the value."""
    lines = code.splitlines()
    for statement in ast.parse(code).body:
        source = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
        said = re.search(r"# (above|below) ([\d.]+)$|# (\(.*?\))", lines[statement.end_lineno - 1])
        yield source, said if isinstance(statement, ast.Expr) else None


def imported(code):
    """Packages that code imports by their names."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_most_pages_have_code():
    assert len(python_blocks(ROOT / "README.md")) >= 6
    assert sum(bool(python_blocks(page)) for page in PAGES) >= 10


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_blocks_of_pages(page, tmp_path, monkeypatch):
    """One after the other; each of the README's, and some of each page, show something, and that is so."""
    monkeypatch.chdir(tmp_path)
    names, shown = {}, []
    for block in python_blocks(page):
        if any(find_spec(name) is None for name in imported(block)):  # an optional package
            continue
        shown.append(0)
        for source, said in outputs(block):
            if said is None:
                exec(source, names)
                continue
            value, (side, bound, literal) = eval(source, names), said.groups()
            shown[-1] += 1
            if literal:
                assert value == ast.literal_eval(literal), source
            else:
                assert value > float(bound) if side == "above" else value < float(bound), (source, value)
        assert shown[-1] or page.name != "README.md", block
    assert any(shown)


@pytest.mark.filterwarnings("error")
def test_examples_in_docstrings():
    """With no names but their own imports, and without a warning."""
    names = [module.name for module in pkgutil.walk_packages(fastbp.__path__, "fastbp.")]
    missing = [name for name in OPTIONAL if find_spec(name) is None]
    names = [name for name in names if not any(name.startswith(f"fastbp.{package}") for package in missing)]
    modules = [fastbp, *map(importlib.import_module, names)]
    tests = [test for module in modules for test in doctest.DocTestFinder().find(module, globs={}) if test.examples]
    names = {test.name.rpartition(".")[2] for test in tests}
    assert names >= {"Network", "MLPClassifier", "MLPRegressor", "Whitening"}
    for test in tests:
        if any(package in test.name for package in missing):
            continue
        assert doctest.DocTestRunner().run(test).failed == 0, test.name


def methods(cls):
    """Public methods of a class that are ours, with their names."""
    for name in dir(cls):
        method = getattr(cls, name)
        if not name.startswith("_") and inspect.isroutine(method):
            if inspect.unwrap(method).__module__.startswith("fastbp"):
                yield f"{cls.__name__}.{name}", method


def test_what_is_public_has_examples_and_tells_what_else_there_is():
    public = {name: getattr(module, name) for module in (fastbp, fastbp.display) for name in module.__all__}
    for cls in (fastbp.Network, fastbp.MLPClassifier, fastbp.MLPRegressor, fastbp.Whitening, fastbp.History):
        public |= dict(methods(cls))
    assert {"Network.fit", "MLPClassifier.partial_fit", "MLPRegressor.transform", "Dense"} <= public.keys()
    for name, thing in public.items():
        for title in ("See Also", "Examples"):
            assert f"\n{title}\n{'-' * len(title)}\n" in inspect.getdoc(thing), (name, title)


def test_docstrings_are_written_out():
    """Nothing makes them, so that editors and tools that don't run the code show them."""
    written = set()
    for path in Path(fastbp.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert getattr(node, "attr", getattr(node, "id", None)) != "__doc__", (path, node.lineno)
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                written.add(node.name)
    assert set(fastbp.__all__) <= written
