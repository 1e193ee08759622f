"""Hints: typical use passes mypy --strict, mistakes are found, and nothing that is public is without a type."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp
import fastbp.display
from fastbp import MLPClassifier

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
pytestmark = pytest.mark.once


def run(*command):
    """A tool, which finds the sources of fastbp in the folder that it runs in."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=env, capture_output=True, text=True)


def mypy(file):
    pytest.importorskip("mypy")
    return run("mypy", "--strict", "--no-error-summary", str(HERE / file))


def test_typical_use_has_no_errors():
    found = mypy("use.py")
    assert found.returncode == 0, found.stdout + found.stderr


def test_typical_use_runs(tmp_path):
    """What passes is also right."""
    from sklearn.exceptions import ConvergenceWarning

    spec = {}
    exec((HERE / "use.py").read_text("utf-8"), spec)
    with pytest.warns(ConvergenceWarning):
        spec["of_estimators"]()
    spec["of_networks"](tmp_path / "net.npz")
    spec["of_custom_losses"]()
    spec["of_heads"]()


def planted():
    """Kinds of the mistakes by their lines."""
    lines = (HERE / "mistakes.py").read_text("utf-8").splitlines()
    return {n: line.split("  # ")[1] for n, line in enumerate(lines, 1) if "  # " in line}


def test_mistakes_are_found():
    found = mypy("mistakes.py").stdout
    errors = {}
    for line, kind in re.findall(r"mistakes\.py:(\d+): error: .*\[([\w-]+)\]$", found, re.M):
        errors.setdefault(int(line), set()).add(kind)
    assert len(planted()) > 40 and errors.keys() == planted().keys(), found
    assert all(kind in errors[line] for line, kind in planted().items()), found


def of_ours():
    """What is public, and the classes that it inherits from, by their names."""
    for thing in [getattr(module, name) for module in (fastbp, fastbp.display) for name in module.__all__]:
        for cls in thing.__mro__ if isinstance(thing, type) else [thing]:
            if cls.__module__.startswith("fastbp"):
                yield cls.__qualname__, cls


def test_public_functions_and_methods_have_all_hints():
    n = 0
    for name, cls in dict(of_ours()).items():
        members = vars(cls) if isinstance(cls, type) else {"": cls}
        for member, value in members.items():
            function = value.fget if isinstance(value, property) else getattr(value, "fn", value)
            function = inspect.unwrap(getattr(function, "__func__", function))
            if not inspect.isfunction(function) or (member.startswith("_") and member != "__init__"):
                continue
            if member == "__init__" and not function.__code__.co_filename.endswith(".py"):
                continue  # a dataclass has made it of its fields
            n += 1
            parameters = inspect.signature(function).parameters.values()
            bare = [p.name for p in parameters if p.annotation is p.empty and p.name not in ("self", "cls")]
            assert not bare and "return" in function.__annotations__, (name, member, bare)
    assert n > 100


def pyright(*arguments):
    pytest.importorskip("pyright")
    found = run("pyright", "--pythonpath", sys.executable, "--outputjson", *arguments)
    try:
        return json.loads(found.stdout)
    except ValueError:  # it takes a network and a Node.js
        pytest.skip(f"pyright does not run here: {found.stdout[-300:]} {found.stderr[-300:]}")


def test_pyright_finds_the_mistakes_alone():
    found = pyright(str(HERE / "use.py"), str(HERE / "mistakes.py"))["generalDiagnostics"]
    errors = {(Path(it["file"]).name, it["range"]["start"]["line"] + 1) for it in found if it["severity"] == "error"}
    assert errors == {("mistakes.py", line) for line in planted()}


def test_pyright_knows_the_types_of_all_that_is_public():
    symbols = pyright("--ignoreexternal", "--verifytypes", "fastbp")["typeCompleteness"]["symbols"]
    ours = {name for name, _ in of_ours()}
    unknown = {
        symbol["name"]: [it["message"] for it in symbol["diagnostics"] if it["severity"] == "error"]
        for symbol in symbols
        if not symbol["isTypeKnown"] and ours & set(symbol["name"].split("."))
    }
    # scikit-learn, from which the estimators inherit, has no types; what is set in several classes has one; and what is
    # unknown in part follows from another symbol, which is here too, or of a package that is not installed
    others = re.compile("Type of (meta|base )class|Ambiguous base class override|.*partially unknown")
    unknown = {name: [m for m in messages if not others.match(m)] for name, messages in unknown.items()}
    assert len(symbols) > 500
    assert not {name: them for name, them in unknown.items() if them and not name.endswith("state__")}


def test_package_says_that_it_has_types():
    assert (Path(fastbp.__file__).parent / "py.typed").exists()


def test_descriptions_of_parameters_in_notebooks():
    common = pytest.importorskip("sklearn.utils._repr_html.common")
    clf = MLPClassifier(alpha=0.1)
    html = clf._repr_html_()
    for name in clf.get_params(deep=False):
        assert common.get_docstring(MLPClassifier, "Parameters", name), name
    assert "Strength of the penalty" in html and "fastbp.MLPClassifier.html#:~:text=alpha" in html
