"""Makes a model that comes with the package from a finished run.

python -m gen_models.pretrained.make RUN [--data-root FOLDER]

Weights are rounded to float16, without what only training needs: the moving average of a network
takes the network's place. The result is measured as users will load it, without the search for
given images, which would take longest. Then its card is written.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import typer
from safetensors.torch import load_file, save
from torch import Tensor

from gen_models.evaluation.bounds import find_bounds
from gen_models.evaluation.evaluate import measuring
from gen_models.evaluation.measure import measure_quick
from gen_models.evaluation.reference import add_feature_spaces
from gen_models.evaluation.sampling import draw_images, write_images
from gen_models.export.card import write_card
from gen_models.files import read_json, write_json
from gen_models.models.interface import GenerativeModel
from gen_models.models.sampler import WithSampler, without_sampler
from gen_models.places import PRETRAINED
from gen_models.runs.directory import RunDirectory, features_record
from gen_models.runs.identity import model_name
from gen_models.runs.sampler import read_record, write_sampler
from gen_models.runs.weights import load_model
from gen_models.terminal import say

AVERAGE = "_ema"  # ends the name of a network's moving average
DRAWN = 100  # images in its picture
RECORDED = (  # of the run's status
    "status", "fingerprint", "versions", "threads", "processor", "device", "epoch", "epochs",
    "seconds", "steps", "images_per_second", "peak_memory_mib",
)  # fmt: skip


def make_pretrained(run: Path, folder: Path = PRETRAINED, data_root: Path | None = None) -> None:
    """Make the files of a model in FOLDER/DATA/MODEL_PHASE, which is replaced.

    Args:
        run: A finished run, with its sampler if it has one.
        folder: Where the models are.
        data_root: Folder of the data sets; None means the run's.

    Raises:
        UserError: Not a finished run, or its data are missing.
    """
    source, trained = RunDirectory(run), load_model(run, sampler=False)
    config = source.read_config()
    name = f"{config['data']['name']}/{model_name(config)}_{config['phase']}"
    with tempfile.TemporaryDirectory() as place:
        target = RunDirectory(Path(place) / "run")  # whose mode is not that of a temporary folder
        target.path.mkdir()
        _write_run(source, target, trained)
        _measure(source, target, data_root)
        model = load_model(target.path)
        classes = model.label_dim
        write_images(draw_images(model, DRAWN, 0), target.path / "samples.png", classes=classes)
        card = target.path / "README.md"
        write_card(target, without_sampler(model), "gen-models", (), card, name=name)
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(target.path, folder / name)
    size = sum(file.stat().st_size for file in (folder / name).iterdir())
    say(f"{folder / name}: {size / 1e6:.2f} MB")


def smaller(model: GenerativeModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The arguments and the float16 weights of a model without what only training needs.

    A network that has a moving average is left out, and the average takes its name: `decode` of the
    smaller model, which has none, makes the same images.
    """
    arguments, weights = dict(model.hparams), model.state_dict()
    for average in [name for name, _ in model.named_children() if name.endswith(AVERAGE)]:
        own = average.removesuffix(AVERAGE)
        arguments["ema_decay"] = 0.0
        for key in [key for key in weights if key.startswith(f"{average}.")]:
            weights[own + key.removeprefix(average)] = weights.pop(key)
    left_out = tuple(f"{part}." for part in model.training_only)
    return arguments, halved({key: weights[key] for key in weights if not key.startswith(left_out)})


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same in float16; integers stay as they are."""
    return {
        key: tensor.half().contiguous() if tensor.is_floating_point() else tensor.contiguous()
        for key, tensor in tensors.items()
    }


def _write_run(source: RunDirectory, target: RunDirectory, trained: GenerativeModel) -> None:
    """The files of the run that its model needs, without what holds for one machine alone."""
    arguments, weights = smaller(trained)
    target.weights.write_bytes(save(weights))
    record = read_json(source.model)
    left_out = {"left_out": list(trained.training_only)} if trained.training_only else {}
    write_json(target.model, {"class": record["class"], "arguments": arguments} | left_out)
    if sampler := read_record(source):
        write_sampler(target, halved(load_file(source.sampler)), sampler)
    config = source.read_config()
    config["data"]["root"] = None
    target.write_config(config | {"output_dir": "outputs", "tags": []})
    shutil.copy(source.architecture, target.architecture)
    status = source.read_status()
    target.write_status(**{key: status[key] for key in RECORDED if key in status})


def _measure(source: RunDirectory, target: RunDirectory, data_root: Path | None) -> None:
    """Measure the model as users load it; what its training cost is the run's."""
    model = load_model(target.path)
    with measuring(target, None, data_root, say) as (data, real):
        add_feature_spaces(real, data.key, data.root)
        bounds = find_bounds(data.name, real, say)
        say(f"measuring as many new images as there are test images, {len(real.equal.test):,}")
        metrics = measure_quick(model.to(real.test.device), real).metrics | bounds
    cost = {key: v for key, v in read_json(source.metrics).items() if key.startswith("cost/")}
    write_json(target.metrics, metrics | cost)
    sampler = {"sampler": model.name} if isinstance(model, WithSampler) else {}
    target.write_status(evaluation=features_record(real.classifier) | sampler)


if __name__ == "__main__":
    typer.run(make_pretrained)
