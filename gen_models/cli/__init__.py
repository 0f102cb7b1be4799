"""`gen-models`: what comes after training. Torch is imported by the commands that need it."""

from gen_models.cli import look, measure  # isort: split

from gen_models.cli import manage  # the order of --help
from gen_models.cli.app import app

__all__ = ["app", "look", "manage", "measure"]
