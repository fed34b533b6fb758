"""Credentials as operators manage them."""
