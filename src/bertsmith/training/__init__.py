"""Training: the loop, its precision, checkpoints, ranks and reports."""
