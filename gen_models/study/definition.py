"""What a study is: its question, its arms, their seeds, and its claims."""

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING


@dataclass
class Arm:
    """One way to train, over seeds; or the same runs at an earlier epoch."""

    label: str = ""  # on the page; empty: its name
    train: str = ""  # overrides of train.py
    of: str = ""  # the arm whose runs these are,
    at_epoch: int = 0  # at the end of this epoch
    seeds: list[int] = field(default_factory=list)  # empty: those of `of`, or the study's
    steps: list[int] = field(default_factory=list)  # numbers of steps that are measured too,
    solvers: list[str] = field(default_factory=list)  # each with each of these solvers

    @property
    def end(self) -> float:
        """The last epoch of its runs, infinity for that of the whole run."""
        return self.at_epoch or math.inf

    @property
    def by_steps(self) -> list[str]:
        """What the metrics at each number of steps begin with: "steps/midpoint-4/"."""
        return [f"steps/{solver}-{count}/" for solver in self.solvers for count in self.steps]


@dataclass
class Contrast:
    """Arms that are compared by one kind of rule."""

    kind: str = MISSING  # a key of `kinds.KINDS`
    arms: list[str] = MISSING  # what the claim speaks of, and last what it is compared with
    metrics: list[str] = MISSING  # a part of the claim each
    other_metric: str = ""  # of the last arm, if that is another one
    unconverged: bool = False  # the last arm's unfinished searches count, but only against a claim
    margin: float = 0.0  # share of the last arm's value that is no difference yet
    word: str = ""  # how much better the claim says: "far", "a little"
    at_least: float = 0.0  # what the word means: a share of the last arm's value
    at_most: float = 0.0
    decides: bool = True  # False: only shown

    def compared_by(self, key: str) -> dict[str, str]:
        """Each arm -> its own metric where the first arms are compared by `key`."""
        return dict.fromkeys(self.arms, key) | {self.arms[-1]: self.other_metric or key}


@dataclass
class Claim:
    """A sentence, and the contrasts that decide it."""

    name: str = MISSING  # "C1"
    says: str = MISSING
    note: str = ""  # what a reader has to know of its rule
    contrasts: list[Contrast] = MISSING


@dataclass
class Study:
    """A question, with the runs and the rules that answer it."""

    file: Path = MISSING
    question: str = MISSING
    note: str = ""
    seeds: list[int] = MISSING  # of every arm that has none of its own
    changed: list[str] = field(default_factory=list)  # rules, after runs had been seen
    prior_work: list[str] = field(default_factory=list)  # papers that did parts of this
    seen: list[int] = field(default_factory=list)  # seeds that chose what is tested: they test not
    arms: dict[str, Arm] = MISSING
    shown: list[str] = field(default_factory=list)  # arms of the first table; empty: of the claims
    stages: list[list[str]] = field(default_factory=list)  # arms in the order of training
    claims: list[Claim] = MISSING

    @property
    def name(self) -> str:
        """The name of its file, and of its folder."""
        return self.file.stem

    @property
    def contrasts(self) -> list[Contrast]:
        """The contrasts of all claims."""
        return [contrast for claim in self.claims for contrast in claim.contrasts]

    def overrides(self, arm: str) -> list[str]:
        """The options of train.py for an arm's runs, without their seeds."""
        words, epoch = shlex.split(self.arms[self.root(arm)].train), self.arms[arm].at_epoch
        return [*words, f"max_epochs={epoch}"] if epoch else words

    def up_to(self, arm: str) -> list[str]:
        """The arm after those that are the same runs at an earlier epoch, the earliest first."""
        same = [name for name in self.arms if self.root(name) == self.root(arm)]
        until_then = [name for name in same if self.arms[name].end <= self.arms[arm].end]
        return sorted(until_then, key=lambda name: self.arms[name].end)

    def root(self, arm: str) -> str:
        """The arm whose runs these are, to their end."""
        return self.arms[arm].of or arm

    def metrics_by_image(self) -> dict[str, set[str]]:
        """The arms that are compared image by image -> the metrics of each."""
        metrics: dict[str, set[str]] = {}
        for contrast in (each for each in self.contrasts if each.kind == "wins"):
            for key in contrast.metrics:
                for name, own in contrast.compared_by(key).items():
                    metrics.setdefault(name, set()).add(own)
        return metrics

    def order(self) -> Iterator[tuple[str, int]]:
        """Every run as (arm, seed): stage by stage, in a stage seed by seed."""
        staged = [name for stage in self.stages for name in stage]
        rest = [name for name in self.arms if name not in staged]
        for stage in (*self.stages, rest):
            for seed in sorted({seed for name in stage for seed in self.arms[name].seeds}):
                yield from ((name, seed) for name in stage if seed in self.arms[name].seeds)
