"""All that depends on Hydra, but for what a sweep says: configurations, building, errors.

Hydra's errors take several lines, some of them noise. Here they are one line, which ends in what
can be done.
"""

import argparse
import difflib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gen_models.errors import UserError, first_line, raise_if_out_of_memory, unknown_option
from gen_models.files import expanded, name_of, with_home
from gen_models.places import COMMAND, CONF, TRAIN, how_to_install
from gen_models.runs.identity import GROUPS, Job, group_overrides
from gen_models.terminal import protect_output

PATHS = ("output_dir", "extend")  # the data module takes care of its own

# What the user has set HYDRA_FULL_ERROR to, for processes that are started from here.
BY_USER = "GEN_MODELS_FULL_ERROR"

NOISE = ("To append to", "See https://", "full_key:", "object_type=", "reference_type=")

NEEDLESS_WARNING = "ignore:resource_tracker"

# What joblib and submitit raise of a job that left no result.
KILLED = ("TerminatedWorkerError", "UncompletedJobError", "FailedJobError")

# Hydra's launchers that come with an extra.
LAUNCHERS = {"hydra/launcher/joblib": "parallel", "hydra/launcher/submitit_slurm": "slurm"}

# Groups of the configuration that have no key in it until one of their options is picked.
WITHOUT_KEY = ("experiment", "learning_rate", "network", "sweep")

# What Python says of an argument that a constructor does not take, and what a user reads.
UNKNOWN_ARGUMENT = re.compile(r"^(\w+)\.__init__\(\) got an unexpected keyword argument ('\w+').*")
UNKNOWN_OPTION = r"\1 takes no \2: leave out the option that sets it"

# Hydra's error of `model=gan,vae` without -m, which has three remedies.
SEVERAL_VALUES = re.compile(r"Ambiguous value for argument '(.*?)' 1\.")

EXPECTED = (UserError, HydraException, OmegaConfBaseException)

OmegaConf.register_new_resolver("stem", name_of, replace=True)
OmegaConf.register_new_resolver("expanded", lambda path: str(expanded(path)), replace=True)


class Reported(Exception):
    """Ends a job of a sweep whose error is on the terminal already."""


def in_sweep() -> bool:
    """Whether this job is one of several."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def job_of(config: DictConfig) -> Job:
    """The job that Hydra has composed.

    Raises:
        UserError: A sweep over jobs of several processes each.
    """
    settings, sweep = HydraConfig.get(), in_sweep()
    plain = _plain(config, evaluate="quick" if sweep else "full")
    defaults = hydra.compose("config", [f"{key}={settings.runtime.choices[key]}" for key in GROUPS])
    trainer = plain["trainer"]
    if sweep and trainer["strategy"] != "auto" and trainer["devices"] != 1:
        raise UserError(
            "trainer.devices: each process would start the whole sweep; train these one by one"
        )
    at_once = sweep and not settings.launcher._target_.endswith("BasicLauncher")  # Hydra's own
    return Job(plain, _plain(defaults), at_once or trainer["devices"] not in (1, "auto"))


def compose_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration of `python train.py OVERRIDES`, without running it.

    Raises:
        UserError: They do not compose.
    """
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            return _plain(hydra.compose("config", with_home(overrides)))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{' '.join(overrides)}: {one_line(error)}") from error


def compose_job(overrides: Sequence[str], *, together: bool = False) -> Job:
    """The job of `python train.py OVERRIDES`; `together`: it trains while other processes do.

    Raises:
        UserError: They do not compose.
    """
    defaults = compose_overrides(group_overrides(overrides))
    return Job(compose_overrides(overrides), defaults, together)


def _plain(config: DictConfig, evaluate: str = "full") -> dict[str, Any]:
    """The resolved configuration; `evaluate` is what null means in it."""
    config = config.copy()
    OmegaConf.set_struct(config, False)
    config.pop("hydra", None)
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    for key in PATHS:
        if isinstance(plain.get(key), str) and plain[key]:
            plain[key] = str(expanded(plain[key]))
    data = plain.get("data")
    if isinstance(data, dict) and data.get("source") and isinstance(data.get("root"), str):
        data["root"] = str(expanded(data["root"]).absolute())  # a run is used from any folder
    return plain | ({"evaluate": evaluate} if plain.get("evaluate") is None else {})


def build(node: dict[str, Any], key: str) -> Any:
    """The object that a node with `_target_` describes.

    Args:
        node: Of the configuration.
        key: Where it is in the configuration, for the line of an error.

    Raises:
        UserError: It cannot be built.
    """
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"{key}: needs a _target_, got {node!r}")
    try:
        return instantiate(node)
    except Exception as error:  # Hydra wraps what a constructor raises
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from error
        raise_if_out_of_memory(cause, f"building {key}: try smaller hidden_dims or latent_dim")
        if isinstance(cause, ValueError | TypeError):
            reason = UNKNOWN_ARGUMENT.sub(UNKNOWN_OPTION, first_line(cause))
            raise UserError(f"{key}: {reason}") from error
        raise


def story() -> ModuleType:
    """train.py as a module, for what trains a model without its command line."""
    spec = importlib.util.spec_from_file_location("gen_models_train", TRAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_command(main: Callable[[], object]) -> None:
    """Run a program of Hydra's, whose errors are one line each; its exit code is 1 after one.

    Hydra's and argparse's own errors would be several lines, and Hydra's name no remedy. Jobs side
    by side that were stopped leave semaphores, which a process of joblib's removes; its warning of
    that would follow the last line of a run that was stopped as it should be.
    """
    take_over()
    protect_output()
    try:
        words = with_home(sys.argv[1:])  # argparse takes no -m between two options of ours
        sys.argv[1:] = sorted(words, key=lambda word: word not in ("-m", "--multirun"))
        main()
    except KeyboardInterrupt:  # a sweep whose jobs are other processes, which have ended too
        print("stopped; the same command resumes from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        _report(error, debug="traceback=true" in map(str.lower, sys.argv))
        sys.exit(1)


@contextmanager
def reported_errors(config: DictConfig) -> Iterator[None]:
    """Say the error of a job in one line, and end it: with code 1, or without the sweep's others.

    Args:
        config: Of the job; traceback=true shows the traceback too.
    """
    try:
        yield
    except Exception as error:
        _report(error, debug=config.get("traceback") is True or not isinstance(error, EXPECTED))
        raise (Reported() if in_sweep() else SystemExit(1)) from error


def take_over() -> None:
    """Leave the errors of a command line to `run_command`."""
    os.environ.setdefault(BY_USER, os.environ.get("HYDRA_FULL_ERROR", "0"))
    os.environ["HYDRA_FULL_ERROR"] = "1"
    warnings_of_user = os.environ.get("PYTHONWARNINGS", "")  # the last that matches wins
    if NEEDLESS_WARNING not in warnings_of_user:
        os.environ["PYTHONWARNINGS"] = f"{NEEDLESS_WARNING},{warnings_of_user}".rstrip(",")
    argparse.ArgumentParser.print_usage = lambda *_: None  # type: ignore[method-assign]


def _report(error: Exception, *, debug: bool) -> None:
    """Say on stderr what went wrong: in one line, unless the traceback is wanted too."""
    if isinstance(error, Reported):
        return
    if debug or os.environ.get(BY_USER) == "1":
        traceback.print_exception(error)
    else:
        print(one_line(error), file=sys.stderr)


def one_line(error: Exception) -> str:
    """The message of an error; Hydra's and OmegaConf's take several lines, some of them noise."""
    text = str(error).partition("Config search path")[0]
    lines = [line.strip() for line in text.splitlines()]
    message = " ".join(line for line in lines if line and not line.startswith(NOISE))
    if type(error).__name__ in KILLED:
        message = f"a job of the sweep was killed: the same command resumes from there ({message})"
    override = getattr(error, "override", None)  # Hydra's parser knows it, and may not say it
    if override:
        reason = message.removeprefix(f"Error parsing override '{override}' ")
        message = f"{override}: {reason} (special characters need quotes: \"key='value'\")"
    if several := SEVERAL_VALUES.match(message):
        message = f"{several[1]}: several values are a sweep: add -m, {COMMAND} -m {several[1]}"
    if message.startswith("Config group override must be"):  # Hydra does not say which
        message = f"{message}, in: {' '.join(sys.argv[1:])}"
    if isinstance(error, MissingConfigException):
        message = _unknown_choice(error) or message
        for launcher, extra in LAUNCHERS.items():
            if error.missing_cfg_file == launcher:
                message = f"{launcher} is not installed: {how_to_install(extra)}"
    if message.startswith("Could not override") and error.__cause__:
        message = _unknown_key(error.__cause__) or message
    return message or type(error).__name__


def _unknown_choice(error: MissingConfigException) -> str | None:
    """The line of an error about a group without such a choice; None for another file."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    known = [str(choice) for choice in error.options or ()]
    if not group or not known:
        return None
    near = difflib.get_close_matches(name, known, 1)
    hint = f". Did you mean {group}={near[0]}?" if near else ""
    return f"{group}={name}: unknown {group}, known are {', '.join(known)}{hint}"


def _unknown_key(error: BaseException) -> str | None:
    """OmegaConf's error of a key that does not exist, with a similar one; None for any other."""
    node, full_key = getattr(error, "parent_node", None), getattr(error, "full_key", None)
    if node is None or not full_key:
        return None
    root = node._get_root()
    keys = set(_keys(OmegaConf.to_container(root))) | set(WITHOUT_KEY)
    return unknown_option(str(full_key), keys)


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    """All keys of a configuration that a user may set, those of groups with their group."""
    for key, value in node.items():
        if key != "hydra" and not str(key).startswith("_"):
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from _keys(value, f"{prefix}{key}.")
