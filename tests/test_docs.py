"""What the pages of docs/ quote is in the code, what they show is there, and it stays small."""

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from typer.main import get_command

from gen_models.cli import app

DOCS = ROOT / "docs"
PAGES = [path for path in DOCS.glob("*.md") if path.name != "report.md"]
TEXTS = {path.name: path.read_text() for path in PAGES}
COMMANDS = [
    line.partition("  #")[0].strip()
    for text in TEXTS.values()
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    for line in block.replace("\\\n", "").splitlines()
]


def test_quoted_code_is_the_code() -> None:
    source = "".join(path.read_text() for path in (ROOT / "gen_models/models").glob("*.py"))
    real = {line.strip() for line in source.splitlines()}
    blocks = re.findall(r"```python\n(.*?)```", TEXTS["three_families.md"], re.DOTALL)
    quoted = [line for block in blocks for line in block.splitlines()]
    assert len(quoted) >= 10
    for line in quoted:
        assert line.strip() in real, line


def test_the_model_that_is_shown_as_an_example_is_the_tested_one() -> None:
    for language, file in (("python", "toy.py"), ("yaml", "conf/model/toy.yaml")):
        shown = re.findall(rf"```{language}\n(.*?)```", TEXTS["extend.md"], re.DOTALL)[0]
        code = (ROOT / "tests/third_model" / file).read_text()
        assert shown.removeprefix(f"# {file}\n") in code


def test_pictures_exist_and_are_small() -> None:
    for name, text in TEXTS.items():
        for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
            assert (DOCS / path).is_file(), (name, path)
    for file in DOCS.iterdir():
        if file.suffix in (".png", ".webp", ".html", ".ipynb", ".svg"):
            assert file.stat().st_size < 300_000, file


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("python train.py")])
def test_training_commands_compose(line: str) -> None:
    words = shlex.split(line.partition("&&")[0])[2:]
    overrides = [re.sub(r"=([^,\[\]]+),.*", r"=\1", word) for word in words if word[0] != "-"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert compose("config", overrides).model


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("gen-models")])
def test_commands_of_gen_models_exist(line: str) -> None:
    words = shlex.split(line)[1:]
    command = get_command(app)
    if words[0][0] != "-":
        command = command.commands[words[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for path in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (Path(page).parent / path).exists(), (page, path)
