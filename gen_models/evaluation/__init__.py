"""Everything that is measured of one finished run, into its directory."""

from gen_models.evaluation.evaluate import evaluate_trained as evaluate_trained
from gen_models.evaluation.reporting import show_line as show_line
from gen_models.evaluation.reporting import show_run as show_run
