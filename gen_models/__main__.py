"""`python -m gen_models` is `gen-models`."""

from gen_models.cli import app

app(prog_name="gen-models")
