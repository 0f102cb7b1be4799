"""The plots of a search: how its best value improved, and which option mattered.

Optuna's own history leaves out the pruned trials, and one bad trial flattens its linear axis.
"""

from pathlib import Path

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
    """Write history.png and, where values differ, importance.png; returns their paths."""
    plots = {"history.png": _history, "importance.png": _importance}
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len({trial.value for trial in done}) == 1:
        del plots["importance.png"]
    written = []
    for name, plot in plots.items():
        with figures.drawing(folder / name) as path:
            figure = Figure(figsize=(5, 3), layout="constrained")
            plot(study, figure.subplots())
            figures.save(figure, path)
            written.append(path)
    return written


def _history(study: optuna.Study, axes: Axes) -> None:
    """Each trial's value, and the best so far; a pruned trial at its last value."""
    trials = study.get_trials(deepcopy=False)
    done = [(t.number + 1, t.value) for t in trials if t.state == TrialState.COMPLETE]
    pruned = [
        (t.number + 1, t.intermediate_values[max(t.intermediate_values)])
        for t in trials
        if t.state == TrialState.PRUNED and t.intermediate_values
    ]
    numbers, values = zip(*done, strict=True)
    best = [min(values[: count + 1]) for count in range(len(values))]
    axes.step(numbers, best, where="post", color=COLORS[0], lw=1.2)
    axes.scatter(numbers, values, s=14, color=COLORS[0], label="to its end")
    if pruned:
        numbers, values = zip(*pruned, strict=True)
        axes.scatter(numbers, values, s=18, marker="x", color=COLORS[1], label="pruned")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial", fontsize=8)
    axes.set_ylabel(OBJECTIVE, fontsize=8)
    axes.legend(fontsize=7, loc="upper right")
    _finish(axes, "best so far, and every trial")


def _importance(study: optuna.Study, axes: Axes) -> None:
    """The part of the values' variance that each option explains, by Optuna's evaluator."""
    importances = optuna.importance.get_param_importances(study)
    axes.barh(list(importances), list(importances.values()), color=COLORS[0], height=0.6)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    _finish(axes, "share of the variance that an option explains")


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7, which="both")
    axes.set_axisbelow(True)
    axes.grid(alpha=0.25)
