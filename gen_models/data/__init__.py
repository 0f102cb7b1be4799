"""The data sets and their in-memory loader."""
