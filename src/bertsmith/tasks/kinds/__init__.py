"""One file a task: what it reads, its head, its loss, its predictions and their scores."""
