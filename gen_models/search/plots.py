"""The plots of a search: how its best came down, and which option mattered."""

from pathlib import Path

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import TrialState

from gen_models import figures
from gen_models.figures import COLORS, our_style
from gen_models.training.validation import OBJECTIVE


@our_style()
def write(study: optuna.Study, folder: Path) -> list[Path]:
    """Write history.png and, of two trials or more, importance.png; returns their paths."""
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    written = []
    with figures.drawing(folder / "history.png") as path:
        figures.save(_history(study), path)
        written.append(path)
    if len({trial.value for trial in done}) > 1:
        with figures.drawing(folder / "importance.png") as path:
            figures.save(_importance(optuna.importance.get_param_importances(study)), path)
            written.append(path)
    return written


def _history(study: optuna.Study) -> Figure:
    """Each trial's value, and the best so far; pruned ones at the value where they were ended."""
    figure, axes = _axes("best so far, and every trial")
    trials = study.get_trials(deepcopy=False)
    done = [(t.number + 1, t.value) for t in trials if t.state == TrialState.COMPLETE]
    ended = [
        (t.number + 1, t.intermediate_values[max(t.intermediate_values)])
        for t in trials
        if t.state == TrialState.PRUNED and t.intermediate_values
    ]
    numbers, values = np.array(done, dtype=float).T
    axes.step(numbers, np.minimum.accumulate(values), where="post", color=COLORS[0], lw=1.2)
    axes.scatter(numbers, values, s=14, color=COLORS[0], label="to its end")
    if ended:
        numbers, values = np.array(ended).T
        axes.scatter(numbers, values, s=18, marker="x", color=COLORS[1], label="pruned")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial", fontsize=8)
    axes.set_ylabel(OBJECTIVE, fontsize=8)
    axes.legend(fontsize=7, loc="upper right")
    return figure


def _importance(shares: dict[str, float]) -> Figure:
    """The share of the values' variance that each option explains, by Optuna's evaluator."""
    figure, axes = _axes("share of the variance that an option explains")
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=COLORS[0], height=0.6)
    axes.set_xlim(0, 1)
    return figure


def _axes(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7, which="both")
    axes.set_axisbelow(True)
    axes.grid(alpha=0.25)
    return figure, axes
