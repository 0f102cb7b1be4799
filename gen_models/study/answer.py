"""What the runs of a study say of its claims.

A claim of several parts is supported by the largest p of its parts, and contradicted by its
smallest times their number; p is Holm's over all claims of the study.
"""

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

from gen_models.analysis.statistics import LEVEL, holm
from gen_models.errors import UserError
from gen_models.study.definition import Claim
from gen_models.study.evidence import Evidence, Missing
from gen_models.study.kinds import Part, parts

Outcome = Literal["supported", "contradicted", "not decided", "not answered"]


class Answer(NamedTuple):
    """What the runs say of a claim."""

    claim: Claim
    outcome: Outcome
    p: float | None  # after Holm; None where runs are missing
    parts: list[Part]  # that decide
    others: list[Part]  # that are only shown
    missing: list[str]  # why there is no decision, a line each
    missing_others: list[str]  # why some of the others are not shown

    @property
    def interim(self) -> bool:
        """Whether runs that decide are still missing."""
        return any(side.incomplete for part in self.parts for side in part.sides)

    @property
    def fits(self) -> bool | None:
        """Whether every part is as much better as the claim's word says; None: no word."""
        fits = [part.fits for part in self.parts if part.fits is not None]
        return all(fits) if fits else None


def answers(evidence: Evidence) -> list[Answer]:
    """Decide every claim.

    Raises:
        UserError: No run is there; runs of an arm are of two codes, or those of a claim of two
            precisions.
    """
    _check(evidence)
    gathered = [_gather(claim, evidence) for claim in evidence.study.claims]
    adjusted = holm([1.0 if answer.p is None else answer.p for answer in gathered])
    return [
        answer
        if answer.p is None
        else answer._replace(p=p, outcome=answer.outcome if p < LEVEL else "not decided")
        for answer, p in zip(gathered, adjusted, strict=True)
    ]


def _gather(claim: Claim, evidence: Evidence) -> Answer:
    """The parts of a claim, and its p before Holm with the outcome that it would have."""
    deciding, others = list[Part](), list[Part]()
    missing, missing_others = dict[str, None](), dict[str, None]()  # each line once
    for contrast in claim.contrasts:
        for key in contrast.metrics:
            try:
                (deciding if contrast.decides else others).extend(parts(evidence, contrast, key))
            except Missing as error:
                (missing if contrast.decides else missing_others)[str(error)] = None
    outcome: Outcome = "not answered"
    p = None
    if not missing:
        outcome, p = combine([(part.test.p, part.supports) for part in deciding])
    return Answer(claim, outcome, p, deciding, others, [*missing], [*missing_others])


def combine(parts: Sequence[tuple[float, bool]]) -> tuple[Outcome, float]:
    """The outcome of several parts, each its p and whether it supports the claim; and its p."""
    if all(supports for _, supports in parts):
        return "supported", max(p for p, _ in parts)
    against = min(p for p, supports in parts if not supports)
    return "contradicted", min(1.0, against * len(parts))


def _check(evidence: Evidence) -> None:
    """Make sure that the runs can be in one study."""
    file = evidence.study.file
    if not evidence.table.rows:
        raise UserError(f"{file}: no run is there yet: --train trains them")
    for name, column in itertools.product(evidence.study.arms, ("code", "training_precision")):
        seeds = {row.record[column]: row.seed for row in evidence.rows(name)}
        if len(seeds) > 1:
            named = ", ".join(f"{value} (seed {seed})" for value, seed in sorted(seeds.items()))
            raise UserError(
                f"{file}: arms.{name}: runs of more than one {column}: {named}: overwrite=true "
                "trains a run again"
            )
    for claim in evidence.study.claims:
        for contrast in (each for each in claim.contrasts if each.decides):
            rows = [row for arm in contrast.arms for row in evidence.rows(arm)]
            precisions = {row.record["training_precision"]: row.record["arm"] for row in rows}
            if len(precisions) > 1:
                named = ", ".join(f"{precision} ({arm})" for precision, arm in precisions.items())
                raise UserError(
                    f"{file}: claims.{claim.name}.arms: trained in more than one precision, which "
                    f"cannot decide a claim: {named}: train them in one, or say decides: false"
                )
