"""What quick tests and long campaigns have in common: faults and bad input, made on purpose.

The generators of bad input are plain functions of a seed and a budget, so that the tests can run
them for a moment and a campaign for a night:

    python -m stress model_files 7 3600s
"""
