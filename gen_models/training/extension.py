"""`extend=`: a run that begins where a shorter one, otherwise the same, has ended."""

from typing import Any

from gen_models.errors import UserError
from gen_models.runs.directory import RunDirectory
from gen_models.runs.fingerprint import fingerprint
from gen_models.runs.identity import Job, identity


def check_extension(job: Job, model_class: type) -> None:
    """Refuse `extend` before any data are read, if a new run cannot extend what it names.

    Raises:
        UserError: The line says what differs.
    """
    new = job.config["overwrite"] or not RunDirectory(job.path).read_status()
    if job.config["extend"] is not None and new:
        find_shorter_run(job.config, fingerprint(model_class))


def find_shorter_run(config: dict[str, Any], code: str) -> RunDirectory:
    """The run that `extend` names: finished, and the same but for fewer epochs.

    Raises:
        UserError: It is not; the line says in what.
    """
    source = RunDirectory(str(config["extend"]))
    status = source.read_status()
    if status.get("status") != "done":
        state = status.get("status", "no run there")
        raise UserError(f"extend={source.path}: not a finished run ({state})")
    if status["fingerprint"] != code:
        raise UserError(f"extend={source.path}: was trained by other code: leave extend out")
    shorter, longer = identity(source.read_config()), identity(config)
    for key in longer:
        if key != "max_epochs" and shorter.get(key) != longer[key]:
            raise UserError(
                f"extend={source.path}: has {key}={shorter.get(key)}, not {longer[key]}: only "
                "max_epochs may differ"
            )
    if shorter["max_epochs"] >= longer["max_epochs"] or longer["max_steps"] != -1:
        raise UserError(
            f"extend={source.path}: has {shorter['max_epochs']} epochs: max_epochs must be more, "
            "and max_steps not set"
        )
    if longer["lr_schedule"] != "constant":
        raise UserError("extend: needs lr_schedule=constant: other schedules depend on max_epochs")
    return source
