"""What the runs of a study say of its claims.

A claim of several parts is supported by the largest p of its parts, and contradicted by its
smallest times their number; p is Holm's over all claims of the study.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from gen_models.comparison.statistics import LEVEL, holm
from gen_models.errors import UserError
from gen_models.study.collect import Table, of_study
from gen_models.study.definition import Claim, Contrast, Study
from gen_models.study.evidence import Evidence, Missing
from gen_models.study.kinds import RULES, Part

Outcome = Literal["supported", "contradicted", "not decided", "not answered"]


class Answer(NamedTuple):
    """What the runs say of a claim."""

    claim: Claim
    outcome: Outcome
    p: float | None  # after Holm; None where runs are missing
    parts: list[Part]  # that decide
    others: list[Part]  # that are only told
    missing: list[str]  # what a decision lacks, a line each
    missing_others: list[str]  # what the others lack

    @property
    def interim(self) -> bool:
        """Whether runs that decide are still missing."""
        return any(part.interim for part in self.parts)

    @property
    def fits(self) -> bool | None:
        """Whether every part is as much better as the claim's word says; None: no word."""
        fits = [part.fits for part in self.parts if part.fits is not None]
        return all(fits) if fits else None


def answers(study: Study, table: Table) -> list[Answer]:
    """Decide every claim.

    Args:
        study: As `load_study` reads it.
        table: Its runs, as `collect` gives them.

    Raises:
        UserError: No run is there; runs of an arm are of two codes or precisions; no run has a
            metric that the study names.
    """
    evidence = Evidence(study, of_study(study, table))
    _check(evidence)
    gathered = [_gather(claim, evidence) for claim in study.claims]
    undecided = [answer.p if answer.p is not None else 1.0 for answer in gathered]
    decided = []
    for answer, p in zip(gathered, holm(undecided), strict=True):
        if answer.p is None:
            decided.append(answer)
        else:
            outcome = answer.outcome if p < LEVEL else "not decided"
            decided.append(answer._replace(p=p, outcome=outcome))
    return decided


def _gather(claim: Claim, evidence: Evidence) -> Answer:
    """The parts of a claim, and its p before Holm with the outcome that it would have."""
    deciding: list[Part] = []
    others: list[Part] = []
    missing: dict[str, None] = {}  # each line once
    missing_others: dict[str, None] = {}
    for contrast in claim.contrasts:
        for key in contrast.metrics:
            try:
                parts = RULES[contrast.kind](contrast, key, evidence)
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
    """The outcome of several parts that p would decide, and p.

    Args:
        parts: p of each, and whether it is on the claim's side.
    """
    if all(toward for _, toward in parts):
        return "supported", max(p for p, _ in parts)
    against = min(p for p, toward in parts if not toward)
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
                odd = min(rows, key=lambda row: count[row.record[column]])
                raise UserError(
                    f"{study.file}: arms.{name}: runs of more than one {column} "
                    f"({', '.join(sorted(count))}; seed {odd.run[1]} is one): overwrite=true "
                    "trains a run again"
                )
    for claim in study.claims:
        for contrast in claim.contrasts:
            if contrast.decides:
                _check_one_precision(evidence, claim, contrast)
            measured = contrast.measured()
            for key in dict.fromkeys(key for keys in measured.values() for key in keys):
                arms = [arm for arm, keys in measured.items() if key in keys]
                rows = [row for arm in arms for row in evidence.rows(arm)]
                rows = [row for row in rows if row.record["status"] != "diverged"]
                if rows and all(key not in row.metrics for row in rows):
                    raise UserError(
                        f"{study.file}: claims.{claim.name}.metrics: no run has {key}: take it out"
                    )


def _check_one_precision(evidence: Evidence, claim: Claim, contrast: Contrast) -> None:
    """Make sure that no claim is decided between two precisions."""
    arms = {arm: evidence.rows(arm) for arm in contrast.arms}
    known = {arm: rows[0].record["training_precision"] for arm, rows in arms.items() if rows}
    if len(set(known.values())) > 1:
        named = ", ".join(f"{arm} ({precision})" for arm, precision in known.items())
        raise UserError(
            f"{evidence.study.file}: claims.{claim.name}.arms: trained in more than one precision, "
            f"which cannot decide a claim: {named}: train them in one, or say decides: false"
        )
