"""From a corpus to packed pre-training batches."""
