"""Requests and answers of the task endpoints."""
