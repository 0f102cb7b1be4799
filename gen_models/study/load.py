"""Reading a study's YAML file, with one clear line for whatever is wrong with it."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from gen_models.analysis.metrics import HEADLINES, QUICK, is_known, metric
from gen_models.comparison.cost import SAMPLING
from gen_models.errors import UserError
from gen_models.files import expanded, read_yaml
from gen_models.places import CONF
from gen_models.study.definition import Arm, Claim, Contrast, Study
from gen_models.study.kinds import KINDS

FOLDER = CONF / "study"
OPTIONS = sorted({option for kind in KINDS.values() for option in kind.options})
OF_CLAIM = ("name", "says", "note")  # the keys of a claim that its parts do not have
IN_WORDS: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    list[int]: "a list of whole numbers, as in [0, 1, 2]",
    list[str]: "a list of names, as in [one, other]",
    list[list[str]]: "lists of arms, as in [[one, other], [third]]",
    list[Claim]: "a list of one or more, as in [{name: D1, ...}]",
    dict[str, Arm]: "names with overrides of train.py, as in {one: model=gan}",
}


def load_study(name_or_file: str | Path) -> Study:
    """Read a study: one of conf/study, or a YAML file.

    Raises:
        UserError: There is no such file, or something in it is wrong; the message names the key.
    """
    file = expanded(name_or_file)
    if len(file.parts) == 1 and not file.suffix:
        file = FOLDER / f"{file}.yaml"
    content = read_yaml(file, FOLDER, "no such study: name a YAML file or one of:")
    if not isinstance(content, dict):
        raise UserError(f"{file}: must have the keys {_keys(Study)}")
    arms, claims = content.get("arms"), content.pop("claims", None)
    if isinstance(arms, dict):  # overrides alone are short for `train: overrides`
        content["arms"] = {
            str(name): entry if isinstance(entry, dict) else {"train": entry}
            for name, entry in arms.items()
        }
    if not all(isinstance(stage, list) for stage in content.get("stages") or []):
        raise UserError(f"{file}: stages: must be {IN_WORDS[list[list[str]]]}")
    study: Study = _checked(Study, {**content, "file": str(file), "claims": []}, str(file))
    for name, arm in sorted(study.arms.items(), key=lambda item: bool(item[1].of)):
        _check_arm(study, name, arm)  # those that are of another one last: they take its seeds
    _check_known(f"{file}: shown", study.shown, study.arms)
    _check_known(f"{file}: stages", [name for stage in study.stages for name in stage], study.arms)
    if not isinstance(claims, list) or not claims:
        raise UserError(f"{file}: claims: must be {IN_WORDS[list[Claim]]}")
    study.claims = [_claim(study, number, claim) for number, claim in enumerate(claims)]
    names = [claim.name for claim in study.claims]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{file}: claims.{name}: more than one claim of this name: rename one")
    return study


def _check_arm(study: Study, name: str, arm: Arm) -> None:
    """Whether the options of an arm fit one another; its label and its seeds are filled in."""
    place = f"{study.file}: arms.{name}"
    if not re.fullmatch(r"[\w.-]+", name):
        raise UserError(f"{place}: a name may have letters, digits, '_', '.' and '-' only")
    arm.label = arm.label.strip() or name
    if "," in arm.label or " and " in arm.label:
        raise UserError(f"{place}.label: {arm.label}: must have no ',' and no 'and' in it")
    try:
        shlex.split(arm.train)
    except ValueError as error:
        raise UserError(f"{place}: {error}: {arm.train}: close it") from error
    if bool(arm.train) == bool(arm.of):
        raise UserError(f"{place}: must have overrides of train.py, or of: ARM with at_epoch: N")
    if arm.of:
        _check_known(f"{place}.of", [arm.of], study.arms)
        if first := study.arms[arm.of].of:
            raise UserError(f"{place}.of: {arm.of} is itself of an arm: name that one, {first}")
    if bool(arm.of) != (arm.at_epoch > 0):
        raise UserError(f"{place}.at_epoch: must be a whole number from 1, together with of: ARM")
    if bool(arm.steps) != bool(arm.solvers):
        raise UserError(f"{place}.steps: needs solvers, and they need it: solvers: [euler]")
    if len(set(arm.by_steps)) < len(arm.by_steps) or min(arm.steps, default=1) < 1:
        raise UserError(f"{place}.steps: must be whole numbers from 1, each once, as the solvers")
    arm.seeds = arm.seeds or (study.arms[arm.of].seeds if arm.of else []) or study.seeds
    if not arm.seeds or min(arm.seeds) < 0 or len(set(arm.seeds)) < len(arm.seeds):
        raise UserError(f"{place}.seeds: must be whole numbers from 0, each once: seeds: [0, 1, 2]")
    if seen := sorted(set(arm.seeds) & set(study.seen)):
        raise UserError(
            f"{place}.seeds: seed {seen[0]} chose what the study tests (seen: {study.seen}), so it "
            "cannot test it: take others"
        )


def _claim(study: Study, number: int, entry: Any) -> Claim:
    """One claim; what it says outside of its parts holds for each of them."""
    place = f"{study.file}: claims[{number}]"
    if not isinstance(entry, dict):
        raise UserError(f"{place}: must have the keys {_keys(Claim)}")
    place = f"{study.file}: claims.{entry['name']}" if "name" in entry else place
    own = {key: entry.pop(key) for key in OF_CLAIM if key in entry}
    parts = entry.pop("parts", [{}])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{place}.parts: must be a list, each with the keys {_keys(Contrast)}")
    contrasts = [{**entry, **part} for part in parts]
    claim: Claim = _checked(Claim, {**own, "contrasts": contrasts}, place)
    for contrast in claim.contrasts:
        _check_contrast(contrast, study, place)
    if not any(contrast.decides for contrast in claim.contrasts):
        raise UserError(f"{place}.decides: no part decides the claim: leave it out of one")
    return claim


def _checked(schema: type, content: dict[str, Any], place: str) -> Any:
    """An object of a dataclass, if all keys and types are those of it and of what it contains."""
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), content))
    except OmegaConfBaseException as error:
        own = error.object_type if is_dataclass(error.object_type) else schema
        key = str(error.full_key or error.key)
        if isinstance(error, ConfigKeyError):
            raise UserError(f"{place}: {key}: unknown; known are {_keys(own)}") from error
        types = {each.name: each.type for each in (*fields(Arm), *fields(Contrast), *fields(own))}
        kind = next(types[name] for name in re.findall(r"\w+", key)[::-1] if name in types)
        raise UserError(f"{place}: {key}: must be {IN_WORDS[kind]}") from error


def _check_contrast(contrast: Contrast, study: Study, place: str) -> None:
    """Whether the names in a contrast are known, and its arms and numbers fit its kind."""
    _check_known(f"{place}.kind", [contrast.kind], KINDS)
    _check_known(f"{place}.arms", contrast.arms, study.arms)
    _, least, options = KINDS[contrast.kind]
    if len(set(contrast.arms)) < max(least, len(contrast.arms)):
        raise UserError(f"{place}.arms: {contrast.kind} needs {least} or more, each once")
    for key in ("margin", "at_least", "at_most"):
        share = getattr(contrast, key)
        if not 0 <= share < 1:
            raise UserError(f"{place}.{key}: must be a share from 0 to 1, not {share:g}")
    for key in OPTIONS:
        if getattr(contrast, key) and key not in options:
            raise UserError(f"{place}.{key}: {contrast.kind} takes none: leave it out")
    if bool(contrast.word) != (bool(contrast.at_least) != bool(contrast.at_most)):
        raise UserError(f"{place}.word: needs at_least or at_most, one of them, and they need it")
    if not contrast.metrics:
        raise UserError(f"{place}.metrics: must be one or more: metrics: [fid_lenet]")
    if contrast.kind == "cheaper":
        _check_known(f"{place}.metrics", contrast.metrics, SAMPLING)
        last = contrast.arms[-1]
        if not study.arms[last].steps:
            raise UserError(
                f"{study.file}: arms.{last}.steps: {contrast.kind} needs more than one number of "
                "steps: steps: [1, 2, 4] with solvers: [euler]"
            )
        return
    for key in contrast.metrics:
        for arm, name in contrast.compared_by(key).items():
            known = study.arms[arm].by_steps
            if name.startswith("steps/") and not name.startswith(tuple(known)):
                raise UserError(
                    f"{place}.metrics: {name}: {arm} is not measured so: its steps and solvers "
                    f"give {', '.join(known) or 'none'}"
                )
            ranked = is_known(name) and metric(name).better in ("lower", "higher")
            if name.startswith(QUICK) or not ranked:
                raise UserError(
                    f"{place}.metrics: {name}: unknown, of a quick evaluation, or neither lower "
                    f"nor higher better; known are {', '.join(HEADLINES)}, ... of "
                    "gen_models/analysis/metrics.csv"
                )
            if metric(name).better != metric(key).better:
                raise UserError(
                    f"{place}.other_metric: {name} and {key}: of one lower is better, of the other "
                    "higher"
                )


def _check_known(place: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"{place}: unknown: {name}; known are {', '.join(known)}")


def _keys(schema: type) -> str:
    if schema in (Claim, Contrast):
        return ", ".join([*OF_CLAIM, "parts", *(each.name for each in fields(Contrast))])
    return ", ".join(each.name for each in fields(schema) if each.name != "file")
