"""What changes approvals and records it."""
