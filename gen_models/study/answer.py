"""Answers to the claims of a study from groups of runs, with what is missing and trains it."""

from collections.abc import Sequence

from gen_models.comparison.table import Group
from gen_models.comparison.verdicts import Answer, Answers, Outcome, Part
from gen_models.study.arms import Arm, Compose, Missing, compose_arms, select
from gen_models.study.definition import Claim, Contrast, Study
from gen_models.study.evidence import Bounds
from gen_models.study.kinds import KINDS, Side

UNANSWERED = "not answered by these runs"
ORDER: tuple[Outcome, ...] = (
    "contradicted",
    "not answered",
    "not distinguishable",
    "supported",
)


def answer(study: Study, groups: Sequence[Group], bounds: Bounds, compose: Compose) -> Answers:
    """What the groups say of each claim; none if they are of another data set than the study.

    Args:
        study: As `load_study` reads it.
        groups: Every group of the comparison.
        bounds: Floors and ceilings, as `table.bounds` gives them.
        compose: Overrides of `train.py` -> its resolved configuration.

    Raises:
        UserError: The study's arms do not compose, or cannot stand in one study.
    """
    arms = compose_arms(study, compose)
    data = {arm.settings["data"] for family in arms.values() for arm in family}
    claims = study.claims if groups[0].settings["data"] in data else []
    answers = [_answer(claim, arms, groups, bounds) for claim in claims]
    return Answers(study.title, study.intro, answers)


def _answer(
    claim: Claim, arms: dict[str, list[Arm]], groups: Sequence[Group], bounds: Bounds
) -> Answer:
    """The claim holds if each deciding part does; one that is contradicted contradicts it."""
    deciding = [contrast for contrast in claim.contrasts if contrast.decides]
    parts: list[Part] = []
    try:
        chosen = select(groups, [arm for each in deciding for arm in _arms(each, arms)])
        for contrast in claim.contrasts:
            if contrast.decides:
                parts += _parts(contrast, arms, chosen, bounds)
            else:
                parts += _only_shown(contrast, arms, groups, bounds)
    except Missing as missing:
        lines, commands = missing.lines, missing.commands
        return Answer(claim.name, claim.says, "not answered", UNANSWERED, [], lines, commands)
    found = [part for part in parts if part.decides]
    part = min(found, key=lambda part: ORDER.index(part.outcome))
    summary: str = part.outcome
    if part.outcome == "not distinguishable":
        summary = f"not distinguishable with {part.stands_on}"
    return Answer(claim.name, claim.says, part.outcome, summary, parts, [], [])


def _parts(
    contrast: Contrast, arms: dict[str, list[Arm]], chosen: dict[Arm, Group], bounds: Bounds
) -> list[Part]:
    sides = [Side(arm, chosen[arm]) for arm in _arms(contrast, arms)]
    rule = KINDS[contrast.kind].rule
    return [part for key in contrast.metrics for part in rule(contrast, key, sides, bounds)]


def _only_shown(
    contrast: Contrast, arms: dict[str, list[Arm]], groups: Sequence[Group], bounds: Bounds
) -> list[Part]:
    """Parts that do not decide, as far as there are runs for them."""
    try:
        parts = _parts(contrast, arms, select(groups, _arms(contrast, arms)), bounds)
    except Missing:
        return []
    return [part._replace(decides=False) for part in parts]


def _arms(contrast: Contrast, arms: dict[str, list[Arm]]) -> list[Arm]:
    return [arm for name in contrast.arms for arm in arms[name]]
