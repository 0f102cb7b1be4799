"""`gen-models train, search, fit-sampler, export, remove, train-classifier`: what makes models."""

import os
import runpy
import shlex
import shutil
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from gen_models.cli.app import DataRoot, OwnRun, Run, app
from gen_models.errors import UserError
from gen_models.files import can_be_written
from gen_models.places import TRAIN, how_to_install
from gen_models.runs.directory import RunDirectory

command = partial(app.command, rich_help_panel="Manage")


@command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
def train(
    options: Annotated[
        list[str] | None, Argument(metavar="OPTION=VALUE", help="model=gan phase=final ...")
    ] = None,
) -> None:
    """Train one model or sweep over many, like `python train.py`; its --help lists the options."""
    sys.argv = [str(TRAIN), *(options or [])]
    runpy.run_path(sys.argv[0], run_name="__main__")


@command()
def search(
    overrides: Annotated[
        list[str] | None,
        Argument(
            metavar="OPTION=VALUE",
            help="Options of train.py for all trials: model=gan max_epochs=3.",
        ),
    ] = None,
    trials: Annotated[
        int, Option(min=1, help="Trials in all, with those of earlier commands.")
    ] = 30,
    storage: Annotated[
        str, Option(metavar="URL", help="Optuna's database; shared by all workers.")
    ] = "sqlite:///search.db",
    space: Annotated[
        Path | None, Option(help="Settings to try; default: conf/search/MODEL.yaml.")
    ] = None,
    output: Annotated[Path, Option(help="Folder of the plots.")] = Path("search"),
    seed: Annotated[int, Option(min=0, help="Seed of the choice of settings.")] = 0,
) -> None:
    """Search for the settings with the smallest val/fid_lenet, with Optuna's TPE.

    Stop it whenever you like: the same command resumes, with the trial that was stopped first.
    Start the same command more than once, and several workers share the trials.
    """
    if not find_spec("optuna"):
        raise UserError(f"gen-models search needs Optuna: {how_to_install('search')}")
    from gen_models.composition import compose_job, story
    from gen_models.runs.identity import model_name
    from gen_models.search import search as engine
    from gen_models.search.space import FOLDER, read_space
    from gen_models.terminal import quiet_libraries
    from gen_models.training import stopped_by_signals

    common = overrides or []
    config = compose_job(common).config
    if not can_be_written(output):
        raise UserError(f"--output {output}: cannot be written: choose another folder")
    quiet_libraries()
    program = story()
    file = space or FOLDER / f"{model_name(config)}.yaml"
    compose = partial(compose_job, together=True)
    settings = engine.Search(common, read_space(file), compose, program.assemble, program.train)
    with stopped_by_signals():
        study = engine.search(settings, storage=storage, count=trials, seed=seed)
        engine.summarise(settings, study, output)


@command()
def fit_sampler(
    run: OwnRun,
    kind: Annotated[
        Literal["gmm", "normal"],
        Option(help="A Gaussian mixture, whose size is chosen, or one Gaussian."),
    ] = "gmm",
    seed: Annotated[int, Option(min=0, help="The seed of the fit.")] = 0,
    data_root: DataRoot = None,
    remove: Annotated[
        bool, Option("--remove", help="Delete the sampler; the run draws from its prior.")
    ] = False,
) -> None:
    """Fit a sampler to a VAE's latents, so that it draws better images than from its prior.

    It is fitted to the latents of training images. From then on `sample` and `evaluate` use it, and
    say so.
    """
    from gen_models.evaluation import fit_sampler as fitting

    if remove:
        fitting.remove_sampler(run)
        typer.echo(f"{run} draws from its prior again")
    else:
        fitting.fit_sampler(run, kind=kind, seed=seed, data_root=data_root, say=typer.echo)
    typer.echo(f"Measure it again: gen-models evaluate {shlex.quote(str(run))}")


@command()
def export(
    run: Run,
    output: Annotated[Path, Option(metavar="FOLDER", help="The folder to make.")],
    kind: Annotated[
        Literal["onnx", "torch"],
        Option("--format", help="ONNX, or programs of torch.export (.pt2)."),
    ] = "onnx",
    overwrite: Annotated[bool, Option("--overwrite", help="Replace an earlier export.")] = False,
    data_root: DataRoot = None,
) -> None:
    """Write a run's networks as ONNX or torch.export files, with a model card."""
    from gen_models.export.export import export_run

    export_run(
        run, kind=kind, output=output, overwrite=overwrite, data_root=data_root, say=typer.echo
    )


@command()
def remove(
    paths: Annotated[list[Path], Argument(metavar="RUN", help="Run directories.")],
    yes: Annotated[bool, Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete runs, with their weights, metrics and pictures."""
    different = {os.path.realpath(path): path for path in paths}
    doomed = [RunDirectory(path, replaced=True) for path in different.values()]
    for run in doomed:
        if os.path.islink(run.path):
            raise UserError(f"{run.path}: is a link: name the run itself, {run.path.resolve()}")
        if not os.path.exists(run.status):
            raise UserError(f"{run.path}: not a run (there is no status.json in it): name runs")
        if run.is_locked():
            raise UserError(f"{run.path}: is being trained or measured: stop that first")
    for run in doomed:
        state = run.read_status().get("status", "unreadable")
        size = sum(file.lstat().st_size for file in run.path.rglob("*") if file.is_file())
        typer.echo(f"{run.path} ({state}, {size / 2**20:.1f} MiB)")
    if not yes and not typer.confirm(f"Delete {'it' if len(doomed) == 1 else 'them'}?"):
        raise UserError("nothing was deleted: answer y, or pass --yes")
    for run in doomed:
        with run.lock():
            try:
                shutil.rmtree(run.path.absolute())  # "." itself cannot be removed
            except OSError as error:
                raise UserError(
                    f"{run.path}: cannot be deleted ({error.strerror}): check who may write there"
                ) from error


@command()
def train_classifier(
    data: Annotated[str, Option(help="A published data set, such as mnist or svhn.")],
    data_root: Annotated[
        Path | None, Option(help="The folder of the data sets; default GEN_MODELS_DATA or data.")
    ] = None,
    output: Annotated[
        Path | None,
        Option(help="The file without its ending; default: where `evaluate` looks for it."),
    ] = None,
    seed: Annotated[int, Option(min=0, help="The seed of weights, order and distortions.")] = 0,
) -> None:
    """Train the classifier that all distances need, and print its accuracy."""
    from gen_models.runs.classifier import make_classifier

    make_classifier(data, root=data_root, output=output, seed=seed, say=typer.echo)
