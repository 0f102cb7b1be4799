"""The data of a run: those on which it was trained, or the line that says what has changed."""

from pathlib import Path

from gen_models.data.dataset import changes
from gen_models.data.module import MNISTDataModule, load_data
from gen_models.errors import UserError
from gen_models.runs.directory import RunDirectory

PART = {"mnist": "mnist5k"}  # of a data set, a part that needs no download


def load_run_data(run: RunDirectory, root: str | Path | None = None) -> MNISTDataModule:
    """The data of a run, ready to be used; `root` is where they are now, if they were moved.

    Of a model that comes with the package, without `root`: a part that needs no download.

    Raises:
        UserError: They are missing or damaged, or are not those on which the run was trained.
    """
    options = run.read_config()["data"]
    if run.shipped and root is None:
        options = {"name": PART.get(options["name"], options["name"])}
    data = load_data(options, root)
    check_same_data(run, data)
    return data


def check_same_data(run: RunDirectory, data: MNISTDataModule) -> None:
    """Refuse images of the user's own that have changed since the run was trained on them.

    Raises:
        UserError: The line says what has changed.
    """
    before = run.read_status().get("data")
    if before and (changed := changes(before, data.dataset.record())):
        raise UserError(
            f"{run.path}: was trained on other images than those in {data.root} ({changed}): "
            "put back what was there, or train anew with another data.name or overwrite=true"
        )
