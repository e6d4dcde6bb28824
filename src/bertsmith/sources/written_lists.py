"""Lists that a table of text alone has in its cells, as Python, JSON or NumPy write them."""

import json
import re
from typing import Any

from bertsmith.sources.streams import well_formed

_ITEM = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[-+]?[0-9]+(?:\.[0-9]*)?|[Tt]rue|[Ff]alse|None|null""", re.DOTALL)
_BETWEEN = re.compile(r"\s*,\s*|\s+|\Z")
_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None}


def written_list(text: str) -> list[Any] | None:
    """Return the list that Python, JSON or NumPy writes so, of strings, numbers and truths; None where the text is none."""
    text = text.strip()
    if text[:1] + text[-1:] not in ("[]", "()", "{}"):
        return None
    body, at, items = text[1:-1].strip(), 0, []
    while at < len(body):
        item = _ITEM.match(body, at)
        between = item and _BETWEEN.match(body, item.end())
        if not item or not between:
            return None
        try:
            items.append(_value(item[0]))
        except ValueError:
            return None
        at = between.end()
    return items


def bare_list(text: str) -> list[str] | None:
    """Return the words of a list without quotation marks, such as ``[x, y]``; None where the text is none."""
    words = re.fullmatch(r"""\s*\[([^"'\[\]]*)\]\s*""", text)
    return words and [word for part in words[1].split(",") if (word := part.strip())]


def _value(item: str) -> Any:
    if item.lower() in _WORDS:
        return _WORDS[item.lower()]
    if item[0] not in "'\"":
        return float(item) if "." in item else int(item)
    # Python's escapes, in JSON's form.
    text = item[1:-1].replace("\\'", "'").replace('\\"', '"').replace('"', '\\"')
    return well_formed(json.loads(re.sub(r"\\x(..)", r"\\u00\1", f'"{text}"'), strict=False))
