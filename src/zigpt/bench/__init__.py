"""Speed as ratios taken in one run: ours, a plain reference, this machine's own limit."""
