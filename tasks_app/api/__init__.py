"""REST endpoints of tasks."""
