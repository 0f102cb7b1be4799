"""Train GANs and VAEs on small images by one command, and compare them by measurement."""
