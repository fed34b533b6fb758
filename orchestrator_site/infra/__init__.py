"""Stores and processes: caches, wake-ups, probes."""
