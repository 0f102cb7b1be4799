"""Everything that is measured of one finished run, into its directory."""

from gen_models.evaluation.evaluate import evaluate_trained as evaluate_trained
from gen_models.evaluation.reporting import show_end as show_end
