"""`gen-models`: what comes after training. Torch is imported by the commands that need it."""

from gen_models.cli import measure as measure
from gen_models.cli import runs as runs
from gen_models.cli import search as search
from gen_models.cli import study as study
from gen_models.cli import train as train
from gen_models.cli import use as use
from gen_models.cli.app import app as app
