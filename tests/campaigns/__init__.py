"""What the quick tests and the long campaigns have in common: faults, made on purpose."""
