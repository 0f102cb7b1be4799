"""The model card: README.md with the front matter that model hubs read.

YAML between two lines of ---: license, tags, datasets, metrics, model-index.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import yaml

from gen_models.comparison.metrics import BOUNDS, QUICK, metric
from gen_models.errors import UserError
from gen_models.evaluation.cost import trained_parameters
from gen_models.evaluation.measure import INVERTED
from gen_models.explorer.directions import Prior, prior_of
from gen_models.export.programs import Exported
from gen_models.files import read_json
from gen_models.models.interface import GenerativeModel
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import identity, model_name, run_title

TASK = "unconditional-image-generation"
SHOWN = ("fid_lenet", "coverage", "missing_digits", "encoder/mse", "inversion/mse", "test/loss")
RECREATED = ("encoder/mse", "inversion/mse")
DISTANCE_BOUNDS = {f"{bound}/{{}}": BOUNDS[bound] for bound in ("floor", "gaussian")}
RECREATION_BOUNDS = {"pca/mse": "PCA", "nearest/mse": "nearest training image"}


class Data(NamedTuple):
    """A data set as a card names it."""

    title: str
    source: str
    licence: str


DATA = {
    "mnist": Data("MNIST", "Y. LeCun, C. Cortes, C. Burges", "CC BY-SA 3.0"),
    "fashion_mnist": Data("Fashion-MNIST", "H. Xiao, K. Rasul, R. Vollgraf, 2017", "MIT"),
    "kmnist": Data("KMNIST", "T. Clanuwat et al., 2018", "CC BY-SA 4.0"),
    "digits": Data(
        "Optical Recognition of Handwritten Digits, of scikit-learn, enlarged to 28x28",
        "E. Alpaydin, C. Kaynak, 1998",
        "CC BY 4.0",
    ),
}


class Row(NamedTuple):
    """A metric in the card's table."""

    key: str
    title: str
    meaning: str
    value: float
    shown: str
    images: str  # how many
    bounds: str  # what stands beside it


def write_card(
    run: RunDirectory,
    model: GenerativeModel,
    kind: str,
    exported: Sequence[Exported],
    path: Path,
) -> None:
    """Write the card of an exported run; all figures are those that the run has recorded."""
    config, metrics, status = run.read_config(), read_json(run.metrics), run.read_status()
    name = config["data"]["name"]
    data = DATA.get(name, Data(name, "source not recorded", "licence not recorded"))
    title = f"{run_title(config)}, {data.title}"
    rows = _rows(metrics)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gen_models.export"), trim_blocks=True, lstrip_blocks=True
    )
    card = environment.get_template("card.md.j2").render(
        front=_front_matter(config, rows, kind, data, title),
        title=title,
        what=(type(model).__doc__ or "A generative model.").splitlines()[0],
        prior=_prior(model),
        latent_dim=model.latent_dim,
        kind=kind,
        exported=exported,
        architecture=run.architecture.read_text(encoding="utf-8").strip(),
        settings=_settings(config),
        data=data,
        rows=rows,
        missing=metrics.get("missing_digits", metrics.get(f"{QUICK}missing_digits", 0.0)),
        cost={
            known.meaning: known.show(metrics[key]) + (f" {known.unit}" if known.unit else "")
            for key in metrics
            if key.startswith("cost/") and (known := metric(key)).meaning
        },
        parameters=trained_parameters(model),
        status=status,
        run=run.path,
    )
    path.write_text(card + "\n", encoding="utf-8")


def _rows(metrics: dict[str, float]) -> list[Row]:
    """The measured metrics; the quick ones where there are no others."""
    rows = []
    for name in SHOWN:
        prefix = "" if name in metrics else QUICK
        key = prefix + name
        if key not in metrics:
            continue
        known = metric(key)
        samples = int(metrics.get(f"{prefix}samples", 0))
        images = "all" if name.startswith("test/") else f"{samples:,}"
        bounds = {prefix + bound.format(name): said for bound, said in DISTANCE_BOUNDS.items()}
        if name in RECREATED:
            images = f"{min(samples, INVERTED):,}"
            bounds = RECREATION_BOUNDS
        said = [f"{bounds[key]} {known.show(metrics[key])}" for key in bounds if key in metrics]
        shown = f"{known.show(metrics[key])} {known.unit}".rstrip()
        bounded = ", ".join(said)
        row = Row(key, known.title, known.meaning, metrics[key], shown, images, bounded)
        rows.append(row)
    return rows


def _front_matter(
    config: dict[str, Any], rows: Sequence[Row], kind: str, data: Data, title: str
) -> str:
    name = config["data"]["name"]
    results = [
        {
            "type": row.key.replace("/", "_"),
            "name": f"{row.meaning} ({row.images} images)",
            "value": row.value,
        }
        for row in rows
    ]
    front: dict[str, Any] = {
        "license": "mit",
        "library_name": {"onnx": "onnx", "torch": "pytorch"}[kind],
        "pipeline_tag": TASK,
        "tags": ["gen-models", model_name(config), name, kind],
        "datasets": [name],
    }
    if results:
        dataset = {"type": name, "name": data.title, "split": "test"}
        result = {"task": {"type": TASK}, "dataset": dataset, "metrics": results}
        front["metrics"] = [entry["type"] for entry in results]
        front["model-index"] = [{"name": title, "results": [result]}]
    text: str = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return text.strip()


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """What decided the weights, without the options that are not set."""
    return {key: value for key, value in identity(config).items() if value not in (None, -1)}


def _prior(model: GenerativeModel) -> Prior | None:
    """How z is drawn; None if by something that no file of the export holds."""
    try:
        return prior_of(model)
    except UserError:
        return None
