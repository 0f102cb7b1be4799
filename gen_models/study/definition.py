"""What a study is: its arms, its seeds and its claims, as its YAML file says them."""

import itertools
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

COMMA = re.compile(r",(?![^\[(]*[\])])")  # not one within brackets
PARTS = "A claim with several parts is supported if every part is, contradicted if one is."


@dataclass
class Contrast:
    """Arms that are compared by one kind of rule."""

    kind: str = MISSING  # a key of `kinds.KINDS`
    arms: list[str] = MISSING  # what the claim speaks of, and what it is compared with
    metrics: list[str] = MISSING  # a part each
    other_metric: str = ""  # of the other arm, if that is another one
    contrast: str = ""  # its name; empty: the settings in which the arms differ
    margin: float = 0.0  # share of the other arm's value
    paired: bool = False  # by seed, for runs that share their first epochs
    show: str = ""  # after the difference: "references" or "change"
    decides: bool = True  # False: only shown, and left out where there are no runs


@dataclass
class Claim:
    """A sentence, and the contrasts that decide it."""

    name: str = MISSING  # "C1"
    says: str = MISSING
    contrasts: list[Contrast] = MISSING


@dataclass
class Study:
    """A question, with the runs and the rules that answer it."""

    file: Path = MISSING
    seeds: list[int] = MISSING  # that its commands train
    arms: dict[str, str] = MISSING  # name -> overrides of train.py; of several values, an arm each
    claims: list[Claim] = MISSING
    title: str = "Claims"
    question: str = ""
    author: str = ""

    @property
    def intro(self) -> str:
        """What a report says before the answers."""
        by = f"Claims of {self.author}." if self.author else ""
        return " ".join(text for text in (self.question, by, PARTS) if text)

    def command(self, arm: str) -> str:
        """What trains an arm."""
        overrides = shlex.join(shlex.split(self.arms[arm]))
        return f"python train.py -m {overrides} seed={','.join(map(str, self.seeds))}"


def spread(overrides: str) -> list[list[str]]:
    """The runs of `python train.py -m OVERRIDES`, one by one: "lr=1e-3,1e-4" is two.

    Raises:
        ValueError: A quotation is not closed.
    """
    return [list(run) for run in itertools.product(*map(_values, shlex.split(overrides)))]


def _values(override: str) -> list[str]:
    key, equals, values = override.partition("=")
    return [f"{key}{equals}{value}" for value in COMMA.split(values)]
