"""What is found in many texts: nearest lines, passages, answers, the best candidates."""
