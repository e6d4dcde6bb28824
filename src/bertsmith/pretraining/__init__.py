"""Pre-training on a corpus, from configuration to report."""
