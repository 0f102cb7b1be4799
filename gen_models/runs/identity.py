"""What decides a run's figures: its settings, with the path that follows from them, and the code.

The hash of the code leaves out what cannot change a figure: comments, docstrings, imports, errors,
messages, the names of files. So a run stays valid when a file is moved or reworded.
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
from typing import Any, NamedTuple

GROUPS = ("data", "model", "phase")  # the options that name a run's folder
LONGEST_NAME = 100  # characters; most file systems allow 255
LISTED_APART = (  # options of Lightning's trainer: listed below, or without influence on figures
    "max_epochs", "precision", "limit_train_batches", "limit_val_batches", "accelerator", "devices",
    "strategy", "num_nodes", "log_every_n_steps", "check_val_every_n_epoch",
)  # fmt: skip

PACKAGE = Path(__file__).parent.parent
TRAINING = ("data/module.py", "training/schedule.py", "training/trainer.py")  # of every model
FOLLOWED = re.compile(r"gen_models\.(data|models|seeding)\b")  # imports that can change weights

# Beginnings of statements: a run that is resumed has met no error, and strings are docstrings.
WITHOUT_INFLUENCE = re.compile(
    r"""(raise|import|from)\b | (\w+\.)*(say|debug|info|warning|error|warn)\( | [rR]?["']""", re.X
)
LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


class Job(NamedTuple):
    """One run as the command line describes it."""

    config: dict[str, Any]  # resolved
    defaults: dict[str, Any]  # the same data set, model and phase without further options
    together: bool = False  # it trains while other processes do

    @property
    def changed(self) -> list[str]:
        """The settings that differ from the defaults, without the seed."""
        settings, usual = identity(self.config), identity(self.defaults)
        return [
            key
            for key in settings
            if key not in ("seed", "data") and settings[key] != usual.get(key)
        ]

    @property
    def path(self) -> Path:
        """Its run directory, `<output_dir>/<data>/<model>_<phase>/<name>`.

        The name says what differs from the defaults.
        """
        settings = identity(self.config)
        changes = (_label(key, settings[key]) for key in self.changed)
        parts = [f"seed{settings['seed']}", *changes]
        name = "-".join(parts)
        if len(name) > LONGEST_NAME:
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            name = f"{name[: LONGEST_NAME - 9]}-{digest}"
        folder = f"{model_name(self.config)}_{self.config['phase']}"
        return Path(self.config["output_dir"]) / self.config["data"]["name"] / folder / name


def group_overrides(overrides: Iterable[str]) -> list[str]:
    """The overrides that pick data set, model and phase, from which the defaults are composed."""
    return [text for text in overrides if text.partition("=")[0] in GROUPS]


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that change a run's figures, flat; they alone decide its name and its group."""
    trainer = config["trainer"]
    arguments = {key: value for key, value in config["model"].items() if not key.startswith("_")}
    data = config["data"]
    callbacks, early = config.get("callbacks") or {}, {}
    if "early_stopping" in callbacks:  # and how often it looks
        early = callbacks["early_stopping"] | callbacks.get("validation_distance", {})
    return {
        "seed": config["seed"],
        "data": data["name"],
        **{f"data.{key}": data[key] for key in ("size", "channels") if key in data},
        "batch_size": data["batch_size"],
        "train_on_validation": data.get("train_on_validation", False),
        "model": model_name(config),
        **{f"model.{key}": value for key, value in arguments.items()},
        "max_epochs": trainer["max_epochs"],
        "max_steps": config["max_steps"],
        "lr_schedule": config["lr_schedule"],
        "limit_train_batches": trainer["limit_train_batches"],
        "limit_val_batches": trainer["limit_val_batches"],
        "precision": trainer["precision"],
        **{f"trainer.{key}": value for key, value in trainer.items() if key not in LISTED_APART},
        **{f"early.{key}": value for key, value in early.items() if not key.startswith("_")},
        **({"debug": config["debug"]} if config.get("debug") else {}),
    }


def model_name(config: dict[str, Any]) -> str:
    """The model's class in lower case, e.g. "gan"."""
    return str(config["model"]["_target_"]).rpartition(".")[2].lower()


def model_title(name: str) -> str:
    """A model's name as a sentence has it: "GAN", "VAE", "Flow"."""
    return name.upper() if len(name) <= 3 else name.capitalize()


def run_title(config: dict[str, Any]) -> str:
    """Model and phase, as titles of pictures have them: "GAN final"."""
    return f"{model_title(model_name(config))} {config['phase']}"


def _label(key: str, value: Any) -> str:
    name = key.rpartition(".")[2]
    if isinstance(value, list) and not any(isinstance(part, str) for part in value):
        return name + "x".join(f"{part:g}" for part in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{name}{value:g}"
    return f"{name}_{str(value).lower()}".replace("/", "_")


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
