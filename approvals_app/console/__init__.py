"""What the admin of approvals is made of."""
