"""PostgreSQL as the store of several processes."""
