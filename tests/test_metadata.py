"""What several files say of this version is the same."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.once
@pytest.mark.parametrize(
    "file, pattern",
    [
        ("CHANGELOG.md", r"^## (\S+)$"),
        ("CITATION.cff", r"^version: (\S+)$"),
        ("recipe/recipe.yaml", r'^  version: "(\S+)"$'),
    ],
)
def test_version(file, pattern):
    assert re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)[1] == PROJECT["version"]


@pytest.mark.once
def test_requirements_of_the_recipe():
    run = re.search(r"^  run:\n((    .*\n)*)", (ROOT / "recipe/recipe.yaml").read_text(), re.MULTILINE)[1]
    wanted = [f"python {PROJECT['requires-python']}", *(d.replace(">=", " >=") for d in PROJECT["dependencies"])]
    assert re.findall(r"- (.*)", run) == wanted
