"""What labelled data are, before a model is trained on them."""
