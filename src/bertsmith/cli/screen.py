"""Text for a screen."""

# Line ends and tabs are left; the others have pictures in Unicode up to DEL, and those above it, which some terminals obey too,
# are written as Python writes them.
_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "␡",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
}


def visible(text: str) -> str:
    """Return the text with its control characters to be seen, as ␛ for ESC, so that none recolours or clears a terminal."""
    return text.translate(_PICTURES)
