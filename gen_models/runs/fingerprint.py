"""Hashes of code that tell whether figures were made by the same code.

What cannot change a figure is left out: comments, docstrings, imports, the words of an error or a
message, blank lines.
"""

import ast
import hashlib
import importlib
import io
import subprocess
import tokenize
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
TRAINING = (  # what decides a run's weights, with the model's own file
    "data/datasets.py",
    "data/loader.py",
    "data/module.py",
    "models/layers.py",
    "models/losses.py",
    "models/networks.py",
    "models/pseudo_inputs.py",
    "seeding.py",
    "training/schedule.py",
    "training/trainer.py",
)
MESSAGES = ("say", "debug", "info", "warning", "error", "warn")


def fingerprint(model_class: type) -> str:
    """Hash of the code that trains a model: its file, and what all trainings share."""
    own = Path(importlib.import_module(model_class.__module__).__file__ or "")
    return hash_code([own, *(PACKAGE / name for name in TRAINING)])


def hash_code(files: Iterable[Path]) -> str:
    """Hash of what Python files do, the same in every Python; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(essence(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


def essence(source: str) -> str:
    """The source without what cannot change a figure, and without its layout.

    The text is cut, not printed anew from its syntax tree, which each Python prints otherwise.
    """
    text = source.encode()
    lines = text.splitlines(keepends=True)
    starts = list(accumulate(map(len, lines), initial=0))
    cut = bytearray(len(text))  # 1 where a byte is left out

    def leave_out(first: tuple[int, int], last: tuple[int, int]) -> None:
        begin, end = (starts[line - 1] + column for line, column in (first, last))
        cut[begin:end] = b"\1" * (end - begin)

    for node in ast.walk(ast.parse(source)):
        if _changes_nothing(node):
            leave_out(
                (node.lineno, node.col_offset),  # type: ignore[attr-defined]
                (node.end_lineno, node.end_col_offset),  # type: ignore[attr-defined]
            )
    for token in tokenize.tokenize(io.BytesIO(text).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            before = lines[line - 1].decode()[:column]
            column = len(before.encode())  # ast counts bytes, tokenize characters
            leave_out((line, column), (line, column + len(token.string.encode())))
    kept = bytes(byte for byte, left_out in zip(text, cut, strict=True) if not left_out)
    return " ".join(line.rstrip() for line in kept.decode().splitlines() if line.strip())


def commit() -> str:
    """The commit of the code at work, with "+" if it was changed; "" outside of its repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(PACKAGE), *words]
        said = subprocess.run(command, capture_output=True, check=True).stdout
        return said.decode(errors="replace").strip()

    try:
        git("ls-files", "--error-unmatch", __file__)
        changed = git("diff", "HEAD", "--stat")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _changes_nothing(node: ast.AST) -> bool:
    """Docstrings, imports, errors (a run that goes on has not met one), calls that only tell."""
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom):
        return True
    if not isinstance(node, ast.Expr):
        return False
    called = node.value.func if isinstance(node.value, ast.Call) else None
    name = getattr(called, "attr", None) or getattr(called, "id", None)
    return isinstance(node.value, ast.Constant) or name in MESSAGES
