"""The explorer: one HTML page that draws, recreates and changes images by a run's own network."""
