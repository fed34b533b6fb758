"""Named consumers."""
