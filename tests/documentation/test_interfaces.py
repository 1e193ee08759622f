"""What begins with an underscore stays where it is: modules use each other by names that have none."""

import ast
from pathlib import Path

import fastbp

ROOT = Path(fastbp.__file__).parent
MODULES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in ROOT.rglob("*.py")}
# of estimators of scikit-learn, of a RandomState of NumPy
OTHERS = {"_init_callback_context", "_parameter_constraints", "_bit_generator"}
EXCEPTIONS = {"_arrays", "_core", "_usage", "_Optimizer"}  # extensions, and a class that old pickles name


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def package(module):
    return module.rpartition("/")[0] or module


def nodes(kind, package_name=None):
    """Nodes of this kind, with the names of their modules: of all, or of those of one package."""
    for module, tree in MODULES.items():
        if package_name in (None, package(module)):
            yield from ((module, node) for node in ast.walk(tree) if isinstance(node, kind))


def own_names(package_name):
    """Private attributes that a package's classes have, or its functions give."""
    names = {node.name for _, node in nodes(ast.FunctionDef, package_name)}
    for _, node in nodes(ast.Attribute | ast.Name, package_name):
        if isinstance(node.ctx, ast.Store):
            names.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    for _, node in nodes(ast.keyword, package_name):  # vars(self).update(_bound=...)
        names.add(node.arg)
    return {name for name in names if name and is_private(name)}


def test_no_module_reads_private_attributes_of_another_packages_objects():
    owned = {name: own_names(name) for name in set(map(package, MODULES))}
    assert "_random_state" in owned["estimators"] and "_bound" in owned["estimators"]
    assert "_model" in owned["network"]
    for module, node in nodes(ast.Attribute):
        if is_private(node.attr) and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            where = f"{module}, line {node.lineno}: {ast.unparse(node)}"
            assert node.attr in owned[package(module)] | OTHERS, where


def test_no_module_imports_private_names_of_another():
    for module, node in nodes(ast.ImportFrom):
        if node.level or (node.module or "").startswith("fastbp"):
            for alias in node.names:
                where = f"{module}, line {node.lineno}: {ast.unparse(node)}"
                assert not is_private(alias.name) or alias.name in EXCEPTIONS, where
