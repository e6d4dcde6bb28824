"""Labelled files of any kind to examples."""
