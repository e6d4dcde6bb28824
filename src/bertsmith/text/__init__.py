"""Raw text to sentences, words and WordPieces."""
