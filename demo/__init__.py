"""A day in the life: three agent programs work against a running server, over its HTTP API only."""
