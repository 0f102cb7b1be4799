"""A run as files that other programs open: its networks, checked, and a model card."""
