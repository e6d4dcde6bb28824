"""Files of any kind, plain or compressed, and standard input: as text, as lines, as JSON objects, as rows of tables."""
