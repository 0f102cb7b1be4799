"""`gen-models search`: tries settings, and prints the best of them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from gen_models.cli.app import command
from gen_models.errors import UserError
from gen_models.files import can_be_written, expanded
from gen_models.machine import prepare_threads, use_threads
from gen_models.places import how_to_install

SQLITE = "sqlite:///"  # a path follows


@command()
def search(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[OPTION=VALUE]...",
            help="Options of train.py for all trials: model=gan max_epochs=3.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Trials in all, with those of earlier commands.")
    ] = 30,
    storage: Annotated[
        str, typer.Option(metavar="URL", help="Optuna's database; shared by all workers.")
    ] = "sqlite:///search.db",
    space: Annotated[
        Path | None, typer.Option(help="Settings to try; default: conf/search/MODEL.yaml.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the plots.")] = Path("search"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of settings.")] = 0,
) -> None:
    """Search for the settings with the smallest val/fid_lenet, with Optuna's TPE.

    Stop it whenever you like: the same command resumes, with the trial that was stopped first.
    Start the same command more than once, and several workers share the trials.
    """
    if not find_spec("optuna"):
        raise UserError(f"gen-models search needs Optuna: {how_to_install('search')}")
    from gen_models.composition import compose_job, story
    from gen_models.runs.identity import model_name

    common = list(overrides or [])
    config = compose_job(common).config
    prepare_threads(config.get("threads"), together=True)
    from gen_models.search import search as engine
    from gen_models.search.space import FOLDER, read_space
    from gen_models.terminal import quiet_libraries
    from gen_models.training import stopped_by_signals

    if not can_be_written(output):
        raise UserError(f"--output {output}: cannot be written: choose another folder")
    quiet_libraries()
    file = space or FOLDER / f"{model_name(config)}.yaml"
    if storage.startswith(f"{SQLITE}~"):
        storage = f"{SQLITE}{expanded(storage.removeprefix(SQLITE))}"
    program = story()
    settings = engine.Search(common, read_space(file), compose_job, program.assemble, program.train)
    typer.echo(use_threads(config["threads"]))
    with stopped_by_signals():
        study = engine.search(settings, storage=storage, count=trials, seed=seed)
        engine.summarise(settings, study, output)
