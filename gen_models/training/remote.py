"""Loggers of other programs, each an extra: Weights & Biases, MLflow."""

import importlib.util
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

from gen_models.errors import UserError, first_line
from gen_models.places import how_to_install
from gen_models.runs.identity import identity
from gen_models.training.loggers import RunLogger, Start

MLFLOW_URI = "MLFLOW_TRACKING_URI"  # in the environment


class WandB(RunLogger, WandbLogger):
    """WandbLogger that resumes the same remote run, and prints one line.

    Args:
        folder: The run directory.
        project: On the server.
        entity: User or team; None: your own.
        offline: Write to the run directory alone.

    Raises:
        UserError: The package is not installed.
    """

    def __init__(
        self,
        folder: str,
        project: str = "gen-models",
        entity: str | None = None,
        offline: bool = False,
    ) -> None:
        _require("wandb")
        super().__init__(
            save_dir=folder,
            project=project,
            entity=entity,
            mode="offline" if offline else None,
            settings={"console": "off", "silent": True},
        )
        self._failed = False

    def begin(self, start: Start) -> str:
        """Begin or resume the remote run.

        Raises:
            UserError: There is no login, or no such project.
        """
        tags = list(start.config["tags"])
        self._wandb_init |= {"id": start.remote_id, "name": start.name, "tags": tags}
        self._wandb_init.pop("anonymous", None)  # has no effect any more
        try:
            run = self.experiment
        except Exception as error:
            raise UserError(
                f"logger=wandb: {first_line(error)} (logger.wandb.offline=true needs no server)"
            ) from error
        self.log_hyperparams(_settings(start.config))
        self.where = run.url or f"wandb sync {start.directory.path}/wandb/offline-run-*"
        return str(run.id)

    def log_picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Log a picture."""
        self.log_image(tag, [pixels], step)

    def finalize(self, status: str) -> None:
        """Keep the remote run open at the end of fit: the test metrics follow."""
        self._failed = status != "success"

    def close(self) -> None:
        """End the remote run, if one was begun."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(self._failed))


class MLflow(RunLogger, MLFlowLogger):
    """MLFlowLogger that resumes the same remote run, and reaches its server only in `begin`.

    Args:
        folder: The run directory.
        experiment: On the server.
        tracking_uri: The server; None: that of the environment, else `<output_dir>/mlflow.db`.

    Raises:
        UserError: The package is not installed.
    """

    def __init__(
        self,
        folder: str,
        experiment: str = "gen-models",
        tracking_uri: str | None = None,
    ) -> None:
        _require("mlflow")
        self._folder = folder
        self._initialized = False
        self._options: dict[str, Any] = {"experiment_name": experiment}
        self._options["tracking_uri"] = tracking_uri or os.environ.get(MLFLOW_URI)

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return self._folder

    def begin(self, start: Start) -> str:
        """Begin or resume the remote run.

        Raises:
            UserError: The server does not answer.
        """
        if not self._options["tracking_uri"]:
            place = Path(start.config["output_dir"]).absolute()
            self._options["tracking_uri"] = f"sqlite:///{place / 'mlflow.db'}"
            self._options["artifact_location"] = (place / "mlflow").as_uri()
        uri = self._options["tracking_uri"]
        importlib.import_module("mlflow")  # which sets its own log level
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of MLflow's own database
                MLFlowLogger.__init__(
                    self,
                    run_name=start.name,
                    run_id=start.remote_id,
                    tags=dict.fromkeys(start.config["tags"], ""),
                    **self._options,
                )
                client, name = self._mlflow_client, self._options["experiment_name"]
                if client.get_experiment_by_name(name) is None:
                    client.create_experiment(name, self._options.get("artifact_location"))
                self.experiment.update_run(self.run_id, status="RUNNING")
                self.log_hyperparams(_settings(start.config))
        except Exception as error:
            raise UserError(f"logger=mlflow: {uri}: {first_line(error)}") from error
        self.where = f"mlflow ui --backend-store-uri {uri}"
        return str(self.run_id)

    def log_picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Log a picture."""
        self.experiment.log_image(self.run_id, pixels, key=tag, step=step)


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    return identity(config) | {"phase": config["phase"]}


def _require(package: str) -> None:
    """Refuse a logger whose package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise UserError(f"logger={package}: is not installed: {how_to_install(package)}")
