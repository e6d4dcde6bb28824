"""Words in their contexts: their vectors, their senses, how alike they are."""
