"""What changes tasks and records it."""
