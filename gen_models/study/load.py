"""Reading a study's YAML file, with one clear line for whatever is wrong with it."""

import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import gen_models
from gen_models.comparison.metrics import HEADLINES, metric
from gen_models.errors import UserError
from gen_models.study.definition import Claim, Contrast, Study, spread
from gen_models.study.kinds import KINDS, SHOWN

FOLDER = Path(gen_models.__file__).parent.parent / "conf" / "study"
IN_WORDS: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    float: "a number",
    list[int]: "a list of whole numbers, as in [0, 1, 2]",
    list[str]: "a list of names, as in [one, other]",
    dict[str, str]: "names with overrides of train.py, as in one: model=gan phase=final",
}


def load_study(name_or_file: str | Path) -> Study:
    """Read a study.

    Args:
        name_or_file: The name of one in conf/study, or a YAML file.

    Raises:
        UserError: There is no such file, or something in it is wrong; the message names the key.
    """
    file = Path(name_or_file)
    if len(file.parts) == 1 and not file.suffix:
        file = FOLDER / f"{file}.yaml"
    content = _read(file)
    claims = content.pop("claims", [])
    study = _checked(Study, {**content, "file": str(file), "claims": []}, str(file))
    if not study.seeds or min(study.seeds) < 0 or len(set(study.seeds)) < len(study.seeds):
        raise UserError(f"{file}: seeds: must be whole numbers from 0, each once: seeds: [0, 1, 2]")
    for name, overrides in study.arms.items():
        if not isinstance(overrides, str):  # OmegaConf lets a mapping pass
            raise UserError(f"{file}: arms.{name}: must be overrides of train.py: model=gan")
        try:
            spread(overrides)
        except ValueError as error:
            raise UserError(f"{file}: arms.{name}: {error}: {overrides}: close it") from error
    if not isinstance(claims, list) or not claims:
        raise UserError(f"{file}: claims: must be a list of one or more: claims: [{{name: ...}}]")
    study.claims = [_claim(study, number, claim) for number, claim in enumerate(claims)]
    names = [claim.name for claim in study.claims]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{file}: claims.{name}: more than one claim of this name: rename one")
    return study


def _read(file: Path) -> dict[str, Any]:
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except FileNotFoundError as error:
        known = ", ".join(sorted(path.stem for path in FOLDER.glob("*.yaml")))
        raise UserError(f"{file}: no such study: name a YAML file or one of: {known}") from error
    except Exception as error:  # of the system, of YAML, of OmegaConf
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as YAML: {reason}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: must have the keys {_keys(Study)}")
    return content


def _claim(study: Study, number: int, given: Any) -> Claim:
    """One claim; what it says outside of its parts holds for each of them."""
    place = f"{study.file}: claims[{number}]"
    if not isinstance(given, dict):
        raise UserError(f"{place}: must have the keys {_keys(Claim)}")
    own = {key: given.pop(key) for key in ("name", "says") if key in given}
    claim = _checked(Claim, {**own, "contrasts": []}, place)
    place = f"{study.file}: claims.{claim.name}"
    parts = given.pop("parts", [{}])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{place}.parts: must be a list, each with the keys {_keys(Contrast)}")
    claim.contrasts = [_checked(Contrast, {**given, **part}, place) for part in parts]
    for contrast in claim.contrasts:
        _check_names(contrast, study, place)
    if not any(contrast.decides for contrast in claim.contrasts):
        raise UserError(f"{place}.decides: no part decides the claim: leave it out of one")
    return claim


def _checked(schema: type, given: dict[str, Any], place: str) -> Any:
    """An object of a dataclass, if the keys and the types are its own."""
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), given))
    except OmegaConfBaseException as error:
        types = {each.name: each.type for each in fields(schema)}
        mappings = [name for name in given if types.get(name) == dict[str, str]]
        key = str(error.full_key or next(iter(mappings), error.key))  # a list for one has no key
        kind = types.get(re.split(r"[.\[]", key)[0])
        problem = f"must be {IN_WORDS[kind]}" if kind else f"unknown; known are {_keys(schema)}"
        raise UserError(f"{place}: {key}: {problem}") from error


def _check_names(contrast: Contrast, study: Study, place: str) -> None:
    """Whether the names in a contrast are known, and the arms enough."""
    names: dict[str, tuple[list[str], Iterable[str]]] = {
        "kind": ([contrast.kind], KINDS),
        "arms": (contrast.arms, study.arms),
        "show": ([contrast.show], SHOWN),
    }
    for key, (given, known) in names.items():
        for name in given:
            if name not in known:
                listed = ", ".join(filter(None, known))
                raise UserError(f"{place}.{key}: unknown: {name}; known are {listed}")
    least = KINDS[contrast.kind].arms
    count = sum(len(spread(study.arms[name])) for name in contrast.arms)
    if count < least:
        raise UserError(f"{place}.arms: {contrast.kind} needs {least} arms or more, not {count}")
    if len(set(contrast.arms)) < len(contrast.arms):
        raise UserError(f"{place}.arms: must be different: {', '.join(contrast.arms)}")
    if not 0 <= contrast.margin < 1:
        raise UserError(f"{place}.margin: must be a share from 0 to 1, not {contrast.margin:g}")
    if not contrast.metrics:
        raise UserError(f"{place}.metrics: must be one or more: metrics: [fid_lenet]")
    for name in [*contrast.metrics, contrast.other_metric]:
        if name and metric(name).better not in ("lower", "higher"):
            raise UserError(
                f"{place}.metrics: {name}: unknown, or neither lower nor higher is better; known "
                f"are {', '.join(HEADLINES)} and others of gen_models/comparison/metrics.py"
            )


def _keys(schema: type) -> str:
    if schema is Claim:
        return f"name, says, parts, {_keys(Contrast)}"
    return ", ".join(each.name for each in fields(schema) if each.name != "file")
