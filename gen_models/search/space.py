"""What a search may try: a YAML of options of train.py, each with its values.

A list is a choice. `{low: 5e-5, high: 2e-3, log: true}` is a number between, a whole one if both
ends are. Layers, `hidden_dims: {width: ..., depth: ..., growth: ...}`, have the widths width,
width * growth, and so on, depth times; each of the three is a choice or a range of whole numbers.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from gen_models.errors import UserError, first_line
from gen_models.files import read_yaml
from gen_models.places import CONF

FOLDER = CONF / "search"
LAYERS = {"width", "depth", "growth"}
RANGE = {"low", "high", "log"}
VALUES = "a list of values, or {low: ..., high: ...}, with log: true for a logarithmic scale"


class Space(NamedTuple):
    """What may be tried: each parameter is an option of train.py, or `option.width` of layers."""

    file: Path
    distributions: dict[str, BaseDistribution]

    def draw(self, trial: Trial) -> dict[str, Any]:
        """The trial's value of each parameter, drawn if it has none yet."""
        return {name: _suggest(trial, name, kind) for name, kind in self.distributions.items()}

    def corners(self) -> list[dict[str, Any]]:
        """A few sets of parameters in which each choice and each end of a range occurs."""
        values = {
            name: list(kind.choices)
            if isinstance(kind, CategoricalDistribution)
            else [kind.low, kind.high]  # type: ignore[attr-defined]
            for name, kind in self.distributions.items()
        }
        longest = max(map(len, values.values()))
        return [{k: some[i % len(some)] for k, some in values.items()} for i in range(longest)]

    def overrides(self, parameters: dict[str, Any]) -> list[str]:
        """Parameters as options of train.py: choices in full, numbers of a range rounded."""
        layers: dict[str, dict[str, int]] = {}
        options = []
        for name, value in parameters.items():
            option, _, part = name.rpartition(".")
            kind = self.distributions[name]
            if part in LAYERS and {f"{option}.width", f"{option}.depth"} <= parameters.keys():
                layers.setdefault(option, {})[part] = value
            elif isinstance(kind, FloatDistribution):
                options.append(f"{name}={_short(value, kind.low, kind.high)}")
            else:
                options.append(f"{name}={value}")
        for option, parts in layers.items():
            growth = parts.get("growth", 1)
            dims = [parts["width"] * growth**layer for layer in range(parts["depth"])]
            options.append(f"{option}=[{','.join(map(str, dims))}]")
        return options


def _short(value: float, low: float, high: float) -> str:
    """A number in three digits, or in as many as keep it in its range, within 1 % of it."""
    texts = [f"{value:.{digits}g}" for digits in range(3, 18)]  # the last is the value itself
    near = (high - low) / 100
    return next(t for t in texts if low <= float(t) <= high and abs(float(t) - value) <= near)


def read_space(file: Path) -> Space:
    """Read a space.

    Raises:
        UserError: There is no such file, or something in it is wrong; the message names the key.
    """
    content = read_yaml(file, FOLDER, "no such space: --space FILE, or one for")
    if not isinstance(content, dict) or not content:
        raise UserError(f"{file}: the space is empty: give options of train.py, e.g. lr: {VALUES}")
    kinds: dict[str, BaseDistribution] = {}
    for option, values in ((str(key), values) for key, values in content.items()):
        place = f"{file}: {option}"
        if isinstance(values, dict) and LAYERS & set(values):
            if not {"width", "depth"} <= set(values) <= LAYERS:
                raise UserError(f"{place}: layers need width and depth, and may have growth")
            for part, sizes in values.items():
                kind = kinds[f"{option}.{part}"] = _distribution(f"{place}.{part}", sizes)
                choices = getattr(kind, "choices", [])
                if isinstance(kind, FloatDistribution) or any(type(n) is not int for n in choices):
                    raise UserError(f"{place}.{part}: must be whole numbers, got {sizes!r}")
        else:
            kinds[option] = _distribution(place, values)
    return Space(file, kinds)


def _distribution(place: str, values: Any) -> BaseDistribution:
    if isinstance(values, list) and values:
        return CategoricalDistribution([_typed(value) for value in values])
    if not isinstance(values, dict) or not {"low", "high"} <= set(values) <= RANGE:
        raise UserError(f"{place}: must be {VALUES}, got {values!r}")
    ends = values["low"], values["high"]
    if not all(type(end) in (int, float) and math.isfinite(end) for end in ends):
        raise UserError(f"{place}: low and high must be finite numbers, got {values!r}")
    whole = all(isinstance(end, int) for end in ends)
    kind: Callable[..., BaseDistribution] = IntDistribution if whole else FloatDistribution
    try:
        return kind(*ends, log=bool(values.get("log", False)))
    except ValueError as error:
        raise UserError(f"{place}: {first_line(error)}") from error


def _typed(value: Any) -> str | int | float | bool:
    """A choice as Optuna can keep it: a list as it is typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return "null" if value is None else value


def _suggest(trial: Trial, name: str, kind: BaseDistribution) -> Any:
    if isinstance(kind, CategoricalDistribution):
        return trial.suggest_categorical(name, kind.choices)
    if isinstance(kind, IntDistribution):
        return trial.suggest_int(name, kind.low, kind.high, log=kind.log)
    assert isinstance(kind, FloatDistribution)
    return trial.suggest_float(name, kind.low, kind.high, log=kind.log)
