"""One file a task: its input, its batches, its predictions."""
