"""Figures of one text as plain numbers: no HTTP, no files."""
