"""Checks of a finished run, each with a sentence and the numbers behind it."""
