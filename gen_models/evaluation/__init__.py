"""Measurements of a trained model, the same for every model: pure functions of tensors."""
