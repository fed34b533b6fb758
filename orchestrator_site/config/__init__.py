"""Environment, checks and logging."""
