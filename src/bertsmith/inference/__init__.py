"""Pipelines: from texts to typed predictions."""
