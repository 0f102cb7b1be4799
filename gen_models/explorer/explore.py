"""From one or two runs to one HTML file that needs no network."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from gen_models.data.module import MNISTDataModule
from gen_models.errors import UserError
from gen_models.explorer.content import Run, page_content
from gen_models.files import replaced
from gen_models.metrics.classifier import Classifier, classifier_path, is_kept, load_classifier
from gen_models.models.interface import Encoder, is_conditional
from gen_models.runs.directory import RunDirectory
from gen_models.runs.identity import run_title
from gen_models.runs.sampler import read_record
from gen_models.runs.weights import load_model

SOURCES = {  # of the test images that the page holds, with their licence
    "mnist": "MNIST by Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0",
    "fashion_mnist": "Fashion-MNIST by Zalando SE, MIT licence",
    "kmnist": "KMNIST by CODH, CC BY-SA 4.0",
    "digits": "Optical Recognition of Handwritten Digits by E. Alpaydin and C. Kaynak, CC BY 4.0",
}


class Explorer(NamedTuple):
    """The page as it was written."""

    path: Path
    size: int  # bytes
    difference: float  # the largest of a pixel by 16-bit weights, in levels of 255
    left_out: list[str]  # a sentence each


def explore(
    paths: Sequence[Path],
    output: Path,
    *,
    data_root: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None],
) -> Explorer:
    """Write the page of one or two runs of a data set.

    Args:
        paths: Run directories.
        output: An .html file.
        data_root: Folder of the data sets, if it is not the first run's.
        overwrite: Replace the file.
        say: Called with a line before each part.

    Raises:
        UserError: The runs cannot be shown together, one cannot be carried into the page, or the
            file exists or cannot be written.
    """
    _check_output(output, overwrite)
    runs = _read_runs(paths)
    data = MNISTDataModule(name=runs[0].data, root=data_root or runs[0].root)
    data.prepare_data()
    data.setup()
    classifier_file = classifier_path(data.name, data.root)
    known = is_kept(classifier_file)
    classifier = load_classifier(classifier_file) if known else None
    content, difference = page_content(runs, data, classifier, say)
    left_out = _left_out(runs, classifier)
    source = SOURCES.get(data.name, f"the data set {data.name}")
    facts = {"difference": difference, "left_out": left_out, "source": source}
    text = _render(content | {"leftOut": left_out}, facts)
    _write(text, output)
    return Explorer(output, len(text.encode()), difference, left_out)


def _check_output(output: Path, overwrite: bool) -> None:
    if output.suffix != ".html":
        raise UserError(f"--output {output}: must end in .html")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}")
    if output.exists() and not overwrite:
        raise UserError(f"--output {output}: exists: --overwrite replaces it")


def _read_runs(paths: Sequence[Path]) -> list[Run]:
    if len(paths) > 2:
        raise UserError(f"{len(paths)} runs given: the page shows one or two")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"{paths[0]}: given twice: name two runs, or one")
    runs = []
    for path in paths:
        model = load_model(path, sampler=False)
        config = RunDirectory(path).read_config()
        title = run_title(config)
        runs.append(Run(title, path, model, config["data"]["name"], config["data"]["root"]))
    if runs[0].data != runs[-1].data:
        raise UserError(
            f"runs on two data sets: {runs[0].data} ({runs[0].path}) and {runs[-1].data} "
            f"({runs[-1].path}): a page is of one"
        )
    if len(runs) == 2 and runs[0].title == runs[1].title:
        names = [run.path.resolve().name for run in runs]
        if names[0] == names[1]:
            names = [str(run.path) for run in runs]
        return [
            run._replace(title=f"{run.title}, {name}")
            for run, name in zip(runs, names, strict=True)
        ]
    return runs


def _left_out(runs: Sequence[Run], classifier: Classifier | None) -> list[str]:
    """What these runs cannot show, a sentence each."""
    said = []
    for run in runs:
        if sampler := read_record(RunDirectory(run.path)):
            said.append(
                f"{run.title} has the sampler {sampler['name']}, which the page leaves out: it "
                "draws from the prior."
            )
        if not isinstance(run.model, Encoder):
            said.append(
                f"{run.title} has no encoder, so a given digit is recreated by a search for z."
            )
    if not any(isinstance(run.model, Encoder) for run in runs):
        said.append(
            "The map shows what the classifier makes of the test images, for want of an encoder."
            if classifier
            else "There is no map: neither an encoder nor a classifier of this data set."
        )
    if classifier is None:
        said.append(
            "There is no classifier of this data set, so what it sees is left out "
            f"(gen-models train-classifier --data {runs[0].data})."
        )
        said += [
            f"{run.title} needs to know which digit it is given, and takes a drawn one for a 0."
            for run in runs
            if is_conditional(run.model)
        ]
    return said


def _render(content: dict[str, Any], facts: dict[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("gen_models.explorer", "page"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    titles = [model["title"] for model in content["models"]]
    return environment.get_template("page.html.j2").render(
        content=script, titles=titles, data=content["data"], **facts
    )


def _write(text: str, output: Path) -> None:
    try:
        with replaced(output) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written ({error.strerror})") from error
