"""zigpt: a character-level GPT to read in an afternoon, train in minutes, and look inside.

Nothing is imported here: take what you need from the module whose name says what it is about.
"""

__version__ = "0.1.0"
