"""Hashes of code that tell whether figures were made by the same code.

Left out is what cannot change a figure: comments, docstrings, imports, errors, messages, the names
of files. So a run stays valid when a file is moved or reworded.
"""

import ast
import hashlib
import importlib
import io
import re
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
TRAINING = ("data/module.py", "training/schedule.py", "training/trainer.py")  # of every model
FOLLOWED = re.compile(r"gen_models\.(data|models|seeding)\b")  # imports that can change weights

# Beginnings of statements: a run that is resumed has met no error, and strings are docstrings.
WITHOUT_INFLUENCE = re.compile(
    r"""(raise|import|from)\b | (\w+\.)*(say|debug|info|warning|error|warn)\( | [rR]?["']""", re.X
)
LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def fingerprint(model_class: type) -> str:
    """Hash of the code that trains a model: its file and what all trainings share, with imports."""
    own = Path(importlib.import_module(model_class.__module__).__file__ or "")
    waiting, files = [own, *(PACKAGE / name for name in TRAINING)], set[Path]()
    while waiting:
        file = waiting.pop()
        if file not in files:
            files.add(file)
            waiting += _imported(file)
    return hash_code(files)


def hash_code(files: Iterable[Path]) -> str:
    """Hash of what Python files do, the same in every Python; 16 hexadecimal digits."""
    texts = (essence(file.read_text(encoding="utf-8")) for file in files)
    hashes = (hashlib.sha256(text.encode()).digest() for text in texts)
    return hashlib.sha256(b"".join(sorted(hashes))).hexdigest()[:16]


def essence(source: str) -> str:
    """The statements that can change a figure, with their indentation.

    The text is cut, not printed anew from its syntax tree, which each Python prints otherwise.
    """
    starts = [0, *accumulate(map(len, io.StringIO(source)))]  # of the lines
    statements, depth, text, end = list[str](), 0, "", (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
        if token.type == tokenize.NEWLINE:
            if not WITHOUT_INFLUENCE.match(text):
                statements.append(" " * depth + text)
            text = ""
        elif token.type not in LAYOUT:
            if text and token.start[0] == end[0]:
                begin = end  # with what is between them: some Pythons split f-strings into tokens
            else:
                begin, text = token.start, text and text + " "
            end = token.end
            first, last = (starts[line - 1] + column for line, column in (begin, end))
            text += source[first:last]
    return "\n".join(statements)


def commit() -> str:
    """The commit of the code at work, with "+" if it was changed; "" outside of its repository."""
    git = ["git", "-C", str(PACKAGE)]
    tracked = [*git, "ls-files", "--error-unmatch", __file__]
    describe = [*git, "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+"]
    try:
        subprocess.run(tracked, capture_output=True, check=True)
        answer = subprocess.run(describe, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.decode(errors="replace").strip()


def _imported(file: Path) -> Iterator[Path]:
    """The files of the package that a file imports, of the rooms whose code can change weights."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            for name in (module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)):
                path = PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")
                if FOLLOWED.match(name) and path.is_file():
                    yield path
