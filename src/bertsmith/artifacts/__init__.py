"""Model directories in Hugging Face layout."""
