"""Trained models that come with the package, each a folder DATA/MODEL_PHASE: a small run directory.

model.safetensors (float16) + model.json  sampler.safetensors  config.yaml  architecture.txt
status.json  metrics.json  samples.png  README.md (the model card)
"""
