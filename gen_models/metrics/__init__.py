"""Metrics as pure functions of images, features and models."""
