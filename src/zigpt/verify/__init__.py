"""Checks of a run, each explained in sentences with the numbers behind them."""
