"""The files about the project agree with one another: versions, tools, what CI runs."""

import re
import subprocess
import sys
import tomllib
from datetime import date

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    newest, *older = re.findall(r"^## ([\d.]+) - ([\d-]+)$", CHANGES, re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == newest[0] == PROJECT["version"]
    assert citation["date-released"] == date.fromisoformat(newest[1])
    versions = [Version(version) for version, _ in (newest, *older)]
    assert versions == sorted(set(versions), reverse=True)


def test_the_citation_has_what_its_schema_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == PROJECT["license"]
    assert all("name" in author or "family-names" in author for author in citation["authors"])


def test_the_workflow_calls_the_script_of_ci_and_nothing_else() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text)["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    (python,) = (step["with"]["python-version"] for step in job["steps"] if "with" in step)
    assert Version(python) in SpecifierSet(PROJECT["requires-python"])


def test_what_is_checked_before_a_commit_is_checked_by_ci() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    tools = [hook["entry"].split()[0] for repo in yaml.safe_load(text)["repos"]
             for hook in repo["hooks"]]  # fmt: skip
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert set(tools) == {"ruff", "mypy"}
    assert all(re.search(rf"^ *{tool}\b", script, re.MULTILINE) for tool in tools)


def requirements(which: str) -> list[Requirement]:
    script = [sys.executable, str(ROOT / ".ci" / "requirements.py"), which]
    printed = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    return [Requirement(line) for line in printed.splitlines()]


@pytest.mark.parametrize("which", ["lowest", "light"])
def test_ci_installs_what_is_promised(which: str) -> None:
    promised = [Requirement(text) for text in PROJECT["dependencies"]]
    for extra in ("export", "parallel", "slurm", "search"):
        promised += map(Requirement, PROJECT["optional-dependencies"][extra])
    ranges = {requirement.name: requirement.specifier for requirement in promised}
    printed = {requirement.name: requirement.specifier for requirement in requirements(which)}
    if which == "light":
        assert {"numpy", "scipy", "jinja2", "hydra-core"} <= printed.keys() < ranges.keys()
        assert all(ranges[name] == specifier for name, specifier in printed.items())
        return
    assert printed.keys() == ranges.keys() - {"torch", "torchvision"}
    for name, specifier in printed.items():
        (exact,) = specifier
        assert exact.operator == "=="
        assert f">={exact.version}" in map(str, ranges[name])
