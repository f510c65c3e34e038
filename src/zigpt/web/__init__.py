"""The page that shows a model to its owner: a server on this machine, and what it serves."""
