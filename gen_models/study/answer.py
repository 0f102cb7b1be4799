"""What the runs of a study say of its claims.

A claim of several parts is supported by the largest p of its parts, and contradicted by its
smallest times their number; p is Holm's over all claims of the study.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from gen_models.analysis.statistics import LEVEL, holm
from gen_models.errors import UserError
from gen_models.study.definition import Claim, Study
from gen_models.study.evidence import Evidence, Missing
from gen_models.study.kinds import KINDS, Part
from gen_models.study.table import Table, of_study

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


def answers(study: Study, table: Table) -> list[Answer]:
    """Decide every claim.

    Raises:
        UserError: No run is there; runs of an arm are of two codes or precisions; no run has a
            metric that the study names.
    """
    evidence = Evidence(study, of_study(study, table))
    _check(evidence)
    gathered = [_gather(claim, evidence) for claim in study.claims]
    adjusted = holm([1.0 if answer.p is None else answer.p for answer in gathered])
    return [
        answer
        if answer.p is None
        else answer._replace(p=p, outcome=answer.outcome if p < LEVEL else "not decided")
        for answer, p in zip(gathered, adjusted, strict=True)
    ]


def _gather(claim: Claim, evidence: Evidence) -> Answer:
    """The parts of a claim, and its p before Holm with the outcome that it would have."""
    deciding: list[Part] = []
    others: list[Part] = []
    missing: dict[str, None] = {}  # each line once
    missing_others: dict[str, None] = {}
    for contrast in claim.contrasts:
        for key in contrast.metrics:
            try:
                parts = KINDS[contrast.kind].rule(contrast, key, evidence)
            except Missing as error:
                (missing if contrast.decides else missing_others)[str(error)] = None
            else:
                (deciding if contrast.decides else others).extend(parts)
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
    """Make sure that the runs can stand in one study."""
    study = evidence.study
    if not evidence.table.rows:
        raise UserError(f"{study.file}: no run is there yet: --train trains them")
    for name in study.arms:
        rows = evidence.rows(name)
        for column in ("code", "training_precision"):
            count = Counter(row.record[column] for row in rows)
            if len(count) > 1:
                rare = min(rows, key=lambda row: count[row.record[column]])
                raise UserError(
                    f"{study.file}: arms.{name}: runs of more than one {column} "
                    f"({', '.join(sorted(count))}; seed {rare.seed} is one): overwrite=true "
                    "trains a run again"
                )
    pairs = [(claim, contrast) for claim in study.claims for contrast in claim.contrasts]
    for claim, contrast in pairs:
        place = f"{study.file}: claims.{claim.name}"
        arms = {arm: rows for arm in contrast.arms if (rows := evidence.rows(arm))}
        precisions = {arm: rows[0].record["training_precision"] for arm, rows in arms.items()}
        if contrast.decides and len(set(precisions.values())) > 1:
            named = ", ".join(f"{arm} ({precision})" for arm, precision in precisions.items())
            raise UserError(
                f"{place}.arms: trained in more than one precision, which cannot decide a claim: "
                f"{named}: train them in one, or say decides: false"
            )
        measured = contrast.measured()
        for key in dict.fromkeys(key for keys in measured.values() for key in keys):
            own = [row for arm in arms if key in measured[arm] for row in arms[arm]]
            own = [row for row in own if not row.diverged]
            if own and all(key not in row.metrics for row in own):
                raise UserError(f"{place}.metrics: no run has {key}: take it out")
