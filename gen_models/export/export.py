"""One run into a folder that other programs read.

{generator,decoder,velocity}.* encoder.* classifier.*  z.npy  samples.png  README.md  export.json
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.evaluation.sampling import write_images
from gen_models.export.card import write_card
from gen_models.export.programs import (
    CHECKED,
    FORMATS,
    check_installed,
    latents,
    parts_of,
    write_part,
)
from gen_models.files import write_json, writing
from gen_models.machine import machine
from gen_models.metrics.classifier import Classifier
from gen_models.models.interface import draw_fixed
from gen_models.runs.classifier import kept_classifier
from gen_models.runs.directory import RunDirectory
from gen_models.runs.sampler import read_record, sampler_measured_with
from gen_models.runs.weights import load_model
from gen_models.terminal import Say

RECORD = "export.json"


def export_run(
    run_dir: Path,
    *,
    kind: str,
    output: Path,
    overwrite: bool = False,
    data_root: Path | None = None,
    say: Say,
) -> None:
    """Write the networks of a run, each compared with the model, and a model card.

    Args:
        run_dir: A finished run.
        kind: "onnx" or "torch".
        output: The folder to make; whole or not at all.
        overwrite: Replace an earlier export there.
        data_root: Folder of the data sets, where a classifier that the package lacks lies; None
            means the run's.
        say: Called with a line for each file.

    Raises:
        UserError: Not a finished run; the folder exists; something cannot be exported.
    """
    check_installed(FORMATS[kind])
    if output.exists() and not overwrite:
        raise UserError(f"--output {output}: the folder exists; --overwrite replaces it")
    if output.exists() and not (output / RECORD).is_file():
        raise UserError(f"--output {output}: this is no earlier export; name another folder")
    model = load_model(run_dir, sampler=False)
    run = RunDirectory(run_dir)
    if sampler := read_record(run).get("name") or sampler_measured_with(run.read_status()):
        first, place = ("copy it to COPY and ", "COPY") if run.shipped else ("", run.path)
        raise UserError(
            f"{run.path}: it has, or was measured with, the sampler {sampler}, and an export draws "
            f"from the prior: {first}run `gen-models fit-sampler {place} --remove` and `gen-models "
            f"evaluate {place}` first"
        )
    classifier = _classifier(run, data_root, say) if model.classes else None
    with _whole_or_not_at_all(output) as folder:
        exported = []
        for part in parts_of(model, classifier):
            try:
                exported.append(write_part(part, FORMATS[kind], folder))
            except UserError as error:
                raise UserError(f"{run.path}: {error}") from error
            say(
                f"{output / exported[-1].file}: differs by at most {exported[-1].difference:.1e} "
                f"on {CHECKED} inputs"
            )
        np.save(folder / "z.npy", latents(model).numpy())
        write_images(draw_fixed(model, 64), folder / "samples.png")
        write_card(run, model, kind, exported, folder / "README.md")
        files = [file._asdict() for file in exported]
        write_json(folder / RECORD, {"run": str(run.path), "files": files} | machine())
    say(f"{output / 'README.md'}: the model card")


def _classifier(run: RunDirectory, data_root: Path | None, say: Say) -> Classifier | None:
    """The classifier of a run's data, found without reading them; None where there is none yet."""
    data, record = run.read_config()["data"], run.read_status().get("data", {})
    root = data_root or data["root"]
    module = MNISTDataModule(name=data["name"], source=data.get("source"), root=root)
    digest = record.get("digest", "")
    key = f"{module.name}-{digest[:8]}" if digest else module.name  # as `module.key`
    classifier, why_none = kept_classifier(key, module.root, run)
    if classifier is None:
        say(f"No classifier is exported: {why_none}")
    return classifier


@contextmanager
def _whole_or_not_at_all(output: Path) -> Iterator[Path]:
    """A new folder that takes the place of `output` if all goes well, and is deleted otherwise."""
    folder = output.with_name(f"{output.name}.tmp-{os.getpid()}")
    try:
        with writing(f"--output {output}"):
            folder.mkdir(parents=True)
            yield folder
            shutil.rmtree(output, ignore_errors=True)
            folder.replace(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
