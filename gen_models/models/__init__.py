"""The models, and the interface by which everything else knows them."""
