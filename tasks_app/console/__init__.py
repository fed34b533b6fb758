"""What the admin of tasks is made of."""
