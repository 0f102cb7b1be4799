"""From one or two runs to one HTML file that needs no network."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor

from gen_models.data.facts import facts_of
from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.evaluation.cost import count_flops
from gen_models.evaluation.sampling import check_output
from gen_models.explorer.content import Run, fits_page, has_codes, page_content
from gen_models.files import replaced, writing
from gen_models.metrics.distribution import DIGITS
from gen_models.models.interface import Density, Encoder
from gen_models.runs.classifier import PART, check_same_data, kept_classifier, load_run_data
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import run_title
from gen_models.runs.sampler import read_sampler
from gen_models.runs.weights import load_model
from gen_models.terminal import Say

STEPS = (8, 4)  # at most
# Of one image. A free core carries out 2 GFLOPs a second in the page: 5 images.
MOST_FLOPS = 4e8


class Page(NamedTuple):
    """The page as it was written."""

    size: int  # bytes
    difference: float  # the largest of a pixel by 16-bit weights, in levels of 255
    left_out: list[str]  # a sentence each


def explore(
    paths: Sequence[Path],
    output: Path,
    *,
    data_root: Path | None = None,
    overwrite: bool = False,
    say: Say,
) -> Page:
    """Write the page of one to three runs of a data set.

    Args:
        paths: Run directories.
        output: An .html file.
        data_root: Folder of the data sets, if it is not the first run's.
        overwrite: Replace the file.
        say: Called with a line before each part.

    Raises:
        UserError: The runs cannot be shown together, the page cannot hold one of them, or the file
            exists or cannot be written.
    """
    check_output(output, {".html"})
    if output.exists() and not overwrite:
        raise UserError(f"--output {output}: the file exists; --overwrite replaces it")
    every = _read_runs(paths)
    first = next((run for run in every if not run.directory.shipped), every[0])
    for run in every:
        part = run.directory.shipped and PART.get(run.data) == first.data
        if run.data != first.data and not part:
            raise UserError(
                f"{first.directory.path} was trained on {first.data} and {run.directory.path} on "
                f"{run.data}: name runs on the same data set"
            )
    runs, pace = _fast_enough(every)
    data = load_run_data(first.directory, data_root)
    for run in every:
        check_same_data(run.directory, data)
    if data.class_names:
        classifier, why_none = kept_classifier(data.key, data.root, first.directory)
    else:
        classifier, why_none = None, "the images have no labels"
    content, difference = page_content(runs, data, classifier, say)
    left_out = pace + _left_out(runs, data, why_none)
    seen = [run for run in runs if run.data != data.name]
    text = _render(
        content,
        difference=difference,
        left_out=left_out,
        source=facts_of(data.name),
        trained_on=list(dict.fromkeys(facts_of(run.data).title for run in runs)),
        seen_by=[run.title for run in seen],
        part_of=[facts_of(run.data).title for run in seen],
    )
    with writing(f"--output {output}"), replaced(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Page(len(text.encode()), difference, left_out)


def _read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs, with titles that differ."""
    if len(paths) > 3 or len({path.resolve() for path in paths}) < len(paths):
        raise UserError(
            f"{', '.join(map(str, paths))}: the page shows one to three different runs; name only "
            "those"
        )
    runs: list[Run] = []
    for path in paths:
        model, directory = load_model(path, sampler=False), RunDirectory(path)
        config, name, sampler = directory.read_config(), "", dict[str, Tensor]()
        if directory.sampler.exists():
            name, sampler = read_sampler(directory, model.latent_dim)
        kept = sampler if fits_page(sampler) else {}
        runs.append(Run(run_title(config), directory, config["data"]["name"], model, name, kept))
    if len({run.title for run in runs}) < len(runs):
        folders = [path.resolve().name for path in paths]
        if len(set(folders)) < len(folders):
            folders = [str(path) for path in paths]
        pairs = zip(runs, folders, strict=True)
        runs = [run._replace(title=f"{run.title}, {folder}") for run, folder in pairs]
    return runs


def _fast_enough(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs that a page can draw from in good time, and sentences on the others.

    Models that solve an equation for each image take the page's steps from here on.
    """
    fast, sentences = [], []
    for run in runs:
        if isinstance(run.model, Density):
            own = run.model.steps
            if not set_page_steps(run.model):
                sentences.append(
                    f"{run.title} is not on the page, which could not draw 5 of its images a "
                    "second."
                )
                continue
            if run.model.steps != own:
                sentences.append(
                    f"The page takes {run.model.steps} steps for an image of {run.title}, and the "
                    f"model itself {own or 'as many as it needs'}."
                )
        fast.append(run)
    if not fast:
        raise UserError(f"{' '.join(sentences)} Name a smaller model")
    return fast, sentences


@torch.no_grad()
def set_page_steps(model: Density) -> bool:
    """Set the steps that a page takes, not more than the model's own; False if all are too slow."""
    own, solver = model.steps, model.solver if model.steps else "midpoint"
    z = model.prior(1)
    for steps in STEPS:
        model.set_solver(solver, min(steps, own or steps))
        if count_flops(lambda: model.decode(z)) <= MOST_FLOPS:
            return True
    return False


def _left_out(runs: Sequence[Run], data: MNISTDataModule, why_none: str) -> list[str]:
    """What the page cannot show of these runs, a sentence each.

    Args:
        runs: Those on the page.
        data: Their data set.
        why_none: Why there is no classifier; empty if there is one.
    """
    sentences = []
    kind = "digit" if data.class_names == DIGITS else "class"
    for run in runs:
        if run.sampler_name:
            sentences.append(
                f"{run.title} draws new images with its sampler ({run.sampler_name})."
                if run.sampler
                else f"{run.title} has a sampler ({run.sampler_name}) that is too large for the "
                "page, which draws from the prior."
            )
        if not isinstance(run.model, Encoder):
            sentences.append(f"{run.title} has no encoder, so the page searches for z instead.")
    if not any(has_codes(run.model) for run in runs):
        sentences.append(
            "There is no map: it needs an encoder or a classifier of this data set."
            if why_none
            else "Without an encoder, the map shows the classifier's features of the test images."
        )
    if why_none:
        sentences.append(f"The page does not say which {kind} an image shows: {why_none}.")
        if data.image_shape[0] == 1:  # there is a pad to draw on
            sentences += [
                f"{run.title} needs the {kind} of each image, and takes every drawing for a "
                f"{data.class_names[0]}."
                for run in runs
                if run.model.conditional
            ]
    return sentences


def _render(content: dict[str, Any], **facts: Any) -> str:
    environment = Environment(
        loader=PackageLoader("gen_models.explorer", "page"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    facts |= {"titles": [model["title"] for model in content["models"]]}
    solving = [model["flow"] is not None for model in content["models"]]
    facts |= {"solves": "all" if all(solving) else "some" if any(solving) else "none"}
    facts |= {name: content[name] for name in ("shape", "thing", "classifier")}
    return environment.get_template("page.html.j2").render(content=script, **facts)
