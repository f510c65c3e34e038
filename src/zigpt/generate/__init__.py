"""Writing: scores -> probabilities -> the next id, one character at a time."""
