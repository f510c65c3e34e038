"""Logits -> probabilities -> the next id, one character at a time."""
