"""The model: its settings, attention, and the network itself. Read first, in this order."""
