"""The model: its settings, what happens between positions, and the network itself."""
