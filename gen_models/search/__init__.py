"""A search for settings: what may be tried, the trials in Optuna's storage, and their training."""
