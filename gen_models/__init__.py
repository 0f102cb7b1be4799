"""Train GANs, VAEs and flows on small images with one command, and compare them by measurement."""
