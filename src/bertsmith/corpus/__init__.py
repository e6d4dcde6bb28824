"""Tokenised text on disk: built in parallel, read through memory maps."""
