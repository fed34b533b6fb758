"""What every API door needs; knows no app."""
