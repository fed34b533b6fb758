"""The event log: positions, reading, retention."""
