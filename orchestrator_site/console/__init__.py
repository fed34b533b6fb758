"""What every page of the console needs; knows no app."""
