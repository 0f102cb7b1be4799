"""Train GANs and VAEs on small images with one command, and compare them by measurement."""
