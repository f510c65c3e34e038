"""Faults and bad input, made on purpose, for quick tests and for long campaigns.

The generators are plain functions of a seed and a budget, so that a test can run one for a moment
and a campaign for a night:

    python -m stress model_files 7 3600s
"""
