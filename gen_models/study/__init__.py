"""A study: one YAML of arms, seeds and claims."""
