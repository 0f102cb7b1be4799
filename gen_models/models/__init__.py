"""The models, and the interface through which everything else uses them."""
