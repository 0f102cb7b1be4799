"""Hashes of code that tell whether figures were made by the same code.

What cannot change a figure is left out: layout, comments, docstrings, annotations, imports, the
words of an error or a message.
"""

import ast
import hashlib
import importlib
import subprocess
from collections.abc import Iterable
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
    """Hash of what Python files do; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in files:
        tree = _Essence().visit(ast.parse(file.read_text(encoding="utf-8")))
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


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


class _Essence(ast.NodeTransformer):
    """Takes out of a syntax tree what changes no figure."""

    def visit_Import(self, node: ast.Import) -> None:
        """Drop it: what is imported shows where it is used."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Drop it."""

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        """Drop what it raises: a run that goes on has not been here."""
        return ast.Raise(exc=None, cause=None)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop docstrings, and calls that only tell."""
        if isinstance(node.value, ast.Constant):
            return None
        if isinstance(node.value, ast.Call):
            called = node.value.func
            name = getattr(called, "attr", None) or getattr(called, "id", None)
            if name in MESSAGES:
                return None
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop the annotation of what it returns."""
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Drop its annotation."""
        return ast.arg(arg=node.arg, annotation=None)
