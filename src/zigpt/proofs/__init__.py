"""What can be proved of a finished run, and what not: claims tested, in words and numbers."""
