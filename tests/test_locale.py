"""A locale that is not UTF-8: files are UTF-8 all the same, and a terminal shows a `?`."""

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, small
from test_command import ENVIRONMENT

from gen_models.analysis.metrics import metric
from gen_models.errors import UserError
from gen_models.runs.directory import RunDirectory
from gen_models.terminal import protect_output, say

CODE = [*(ROOT / "gen_models").rglob("*.py"), ROOT / "train.py", *(ROOT / ".ci").glob("*.py")]
CODE += (ROOT / "benchmarks").glob("*.py")
OPENERS = {"open", "read_text", "write_text", "fdopen", "NamedTemporaryFile", "FileHandler"}
NO_TEXT = ("Image.open", "os.open", "webbrowser.open")
PROGRAM = """
import runpy, sys
from gen_models.cli import app

def ended(work):
    try:
        work()
    except SystemExit as end:
        assert end.code in (0, None), end.code

train, *options = sys.argv[1:]
sys.argv = [train, *options]
ended(lambda: runpy.run_path(train, run_name="__main__"))
(run,) = __import__("pathlib").Path(".").glob("runs/*/*/seed0*")
for words in (
    ["compare", str(run.parent), "--output", "report"],
    ["export", str(run), "--format", "torch", "--output", "exported"],
    ["explore", str(run), "--output", "page.html"],
    ["runs", str(run.parents[2])],
):
    ended(lambda: app(words))
"""


def text_mode(call: ast.Call) -> bool:
    """Whether a call opens a file as text, as far as its literal mode tells."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in OPENERS or ast.unparse(call.func) in NO_TEXT:
        return False
    modes = [part.value for part in call.args if isinstance(part, ast.Constant)]
    modes += [part.value.value for part in call.keywords  # type: ignore[attr-defined]
              if part.arg == "mode"]  # fmt: skip
    return not any(isinstance(mode, str) and "b" in mode and len(mode) < 4 for mode in modes)


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_text_file_is_opened_as_utf_8(file: Path) -> None:
    for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call):
            given = {part.arg: ast.unparse(part.value) for part in call.keywords}
            if text_mode(call):
                assert given.get("encoding") == "'utf-8'", (file, call.lineno)
            assert given.get("text") != "True" or "encoding" in given, (file, call.lineno)


def test_the_check_sees_what_it_should() -> None:
    for line, seen in (
        ("open(x)", True), ("p.open('w')", True), ("p.read_text()", True), ("p.open('rb')", False),
        ("open(x, 'wb')", False), ("os.open(x, 1)", False), ("open(x, mode='rb')", False),
    ):  # fmt: skip
        call = ast.parse(line).body[0].value  # type: ignore[attr-defined]
        assert text_mode(call) == seen, line


@pytest.mark.slow
def test_a_run_and_its_pages_are_written_in_a_locale_of_ascii(tmp_path: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {k: v for k, v in ENVIRONMENT.items() if not k.startswith(("LC_", "LANG"))}
    options = small(Path("runs"), "model=vae", "evaluate=quick", epochs=1)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "train.py"), *options],
        cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)} | locale,
        capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr.decode(errors="replace")
    assert "coverage ?" in result.stdout.decode("ascii")
    for name in ("report/report.html", "report/report.md", "exported/README.md"):
        assert "↓" in (tmp_path / name).read_text(encoding="utf-8")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_path_that_the_locale_could_not_read_is_one_line() -> None:
    """TensorBoard, for one, cannot write to it."""
    path = "résultats".encode().decode("ascii", "surrogateescape")
    with pytest.raises(UserError, match=r"^r\?\?sultats: this locale lacks .* PYTHONUTF8=1"):
        RunDirectory(path)


def test_a_terminal_that_lacks_a_character_shows_another(monkeypatch: pytest.MonkeyPatch) -> None:
    title = metric("coverage").title
    for given, inherited in (
        ("", ":replace"),
        ("ascii", "ascii:replace"),
        ("ascii:strict", "ascii:replace"),
    ):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
        monkeypatch.setenv("PYTHONIOENCODING", given)
        protect_output()
        say(title)
        sys.stdout.flush()
        assert written.getvalue() == b"coverage ?\n"
        assert os.environ["PYTHONIOENCODING"] == inherited
