"""The steps of train.py, from the configuration of a run to a trained model in its directory."""

from gen_models.training.loggers import build_loggers as build_loggers
from gen_models.training.options import check_extension as check_extension
from gen_models.training.options import check_options as check_options
from gen_models.training.options import limit_epochs as limit_epochs
from gen_models.training.run import measure_losses as measure_losses
from gen_models.training.run import open_run as open_run
from gen_models.training.run import save_run as save_run
from gen_models.training.trainer import build_model as build_model
from gen_models.training.trainer import build_trainer as build_trainer
from gen_models.training.trainer import stopped_by_signals as stopped_by_signals
