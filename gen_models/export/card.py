"""The model card: README.md with the front matter that model hubs read.

YAML between two lines of ---: license, tags, datasets, metrics, model-index.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import yaml

from gen_models.analysis.metrics import BOUNDS, ENCODER, FID, INVERSION, QUICK, metric
from gen_models.data.facts import facts_of
from gen_models.evaluation.cost import trained_parameters
from gen_models.evaluation.measure import INVERTED
from gen_models.export.programs import Exported
from gen_models.files import read_json
from gen_models.models.interface import Density, GenerativeModel
from gen_models.runs.directory import MISSING, RunDirectory, features_in_words
from gen_models.runs.identity import identity, model_name, run_title
from gen_models.runs.sampler import sampler_measured_with

TASK = "unconditional-image-generation"
ASKED = "class_accuracy"  # of a conditional model
SHOWN = (FID, "coverage", *MISSING, ASKED, ENCODER, INVERSION, "test/loss")


class Row(NamedTuple):
    """A metric in the card's table."""

    key: str
    title: str
    meaning: str
    value: float
    shown: str
    images: str  # how many
    bounds: str  # what it compares with


def write_card(
    run: RunDirectory,
    model: GenerativeModel,
    kind: str,
    exported: Sequence[Exported],
    path: Path,
    *,
    name: str = "",
) -> None:
    """Write the card of a run; all figures are those that the run has recorded.

    Args:
        run: The run.
        model: Its model, without a sampler.
        kind: The files' format, "onnx" or "torch"; "gen-models" for a model that comes with the
            package, which has no other files.
        exported: The files.
        path: The card.
        name: Of a model that comes with the package.
    """
    config, metrics, status = run.read_config(), read_json(run.metrics), run.read_status()
    data = facts_of(config["data"]["name"])
    title = f"{run_title(config)}, {data.title}"
    rows = _rows(metrics)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gen_models.export"), trim_blocks=True, lstrip_blocks=True
    )
    card = environment.get_template("card.md.j2").render(
        front=_front_matter(config, rows, kind, title),
        title=title,
        summary=(type(model).__doc__ or "A generative model.").splitlines()[0],
        model=model,
        solves=isinstance(model, Density),
        kind=kind,
        name=name,
        sampler=sampler_measured_with(status),
        exported=exported,
        architecture=run.architecture.read_text(encoding="utf-8").strip(),
        settings={k: v for k, v in identity(config).items() if v not in (None, -1)},  # those set
        data=data,
        class_names=tuple(status.get("data", {}).get("classes", ())) or data.class_names,
        rows=rows,
        fid=any(row.key.endswith(FID) for row in rows),
        features=features_in_words(status.get("evaluation") or status.get("quick") or {}),
        missing=next((row.value for row in rows if row.key.endswith(MISSING)), 0.0),
        cost={
            known.meaning: f"{known.show(metrics[key])} {known.unit}".rstrip()
            for key in metrics
            if key.startswith("cost/") and (known := metric(key)).meaning
        },
        parameters=trained_parameters(model),
        status=status,
        run=run.path,
    )
    path.write_text(card + "\n", encoding="utf-8")


def _rows(metrics: dict[str, float]) -> list[Row]:
    """The measured metrics, or the quick ones where there are no others."""
    rows = []
    for name in SHOWN:
        prefix = "" if name in metrics else QUICK
        key = prefix + name
        if key not in metrics:
            continue
        known = metric(key)
        samples = int(metrics.get(f"{prefix}samples", 0))
        images = "all" if name.startswith("test/") else f"{samples:,}"
        bounds = {f"{prefix}{bound}/{name}": BOUNDS[bound] for bound in ("floor", "gaussian")}
        if name == ASKED:
            bounds = {f"{prefix}real/{name}": "real images"}
        if name in (ENCODER, INVERSION):
            images = f"{min(samples, INVERTED):,}"
            bounds = {"pca/mse": "PCA", "nearest/mse": "nearest training image"}
        compared = [f"{bounds[key]} {known.show(metrics[key])}" for key in bounds if key in metrics]
        shown = f"{known.show(metrics[key])} {known.unit}".rstrip()
        rows.append(
            Row(key, known.title, known.meaning, metrics[key], shown, images, ", ".join(compared))
        )
    return rows


def _front_matter(config: dict[str, Any], rows: Sequence[Row], kind: str, title: str) -> str:
    name = config["data"]["name"]
    front: dict[str, Any] = {
        "license": "mit",
        "library_name": {"torch": "pytorch"}.get(kind, kind),
        "pipeline_tag": TASK,
        "tags": list(dict.fromkeys(("gen-models", model_name(config), name, kind))),
        "datasets": [name],
    }
    if rows:
        results = [
            {
                "type": row.key.replace("/", "_"),
                "name": f"{row.meaning} ({row.images} images)",
                "value": row.value,
            }
            for row in rows
        ]
        dataset = {"type": name, "name": facts_of(name).title, "split": "test"}
        result = {"task": {"type": TASK}, "dataset": dataset, "metrics": results}
        front["metrics"] = [entry["type"] for entry in results]
        front["model-index"] = [{"name": title, "results": [result]}]
    text: str = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return text.strip()
