"""The encoder, its heads and their configuration."""
