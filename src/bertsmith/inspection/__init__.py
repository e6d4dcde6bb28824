"""What a model does inside: figures for a text as plain numbers, and the page that shows them."""
