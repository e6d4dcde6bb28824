"""Fine-tuning on labelled files: a grid of trials, the best of them kept."""
