"""A model as a file, and the file as a model."""
