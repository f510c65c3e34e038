"""How a model is trained, without a file or a terminal."""
