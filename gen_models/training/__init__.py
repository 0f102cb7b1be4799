"""One run, from its configuration to a finished run directory."""

from gen_models.training.run import train as train
from gen_models.training.stopping import stopped_by_signals as stopped_by_signals
