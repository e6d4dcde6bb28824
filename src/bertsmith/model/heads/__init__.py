"""What stands on top of the encoder: one file a kind of head."""
