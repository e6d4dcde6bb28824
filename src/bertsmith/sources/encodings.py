"""Which encoding text has that is not UTF-8."""

from collections.abc import Callable

_BYTES_LOOKED_AT = 1 << 16
_LEAST_SHARE = 0.9
_FEWEST_LETTERS = 3


def guessed_encoding(data: bytes, at: int) -> str | None:
    """Return the name of the encoding that ``data`` seems to have, of which byte ``at`` is no UTF-8; None where none fits.

    Each is judged by how many of the letters beyond ASCII are those that its language uses most.
    """
    start = data.rfind(b"\n", 0, at) + 1
    part = data[start : start + _BYTES_LOOKED_AT]
    part = part[: part.rfind(b"\n") + 1] or part
    shares = {name: _share(part, name, is_usual) for name, is_usual in _USUAL.items()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= _LEAST_SHARE else None


def _share(part: bytes, encoding: str, is_usual: Callable[[str], bool]) -> float:
    """Return the share of usual letters among those beyond ASCII."""
    try:
        letters = [letter for letter in part.decode(encoding) if letter > "\x7f"]
    except UnicodeDecodeError:
        return 0.0
    return sum(map(is_usual, letters)) / len(letters) if len(letters) >= _FEWEST_LETTERS else 0.0


def _is_kana(letter: str) -> bool:
    return "\u3040" <= letter <= "\u30ff"


def _has_lead(encoding: str, first: int, last: int) -> Callable[[str], bool]:
    """Return what says whether a letter is among the common ones of an encoding, which have their first byte in this range."""

    def is_usual(letter: str) -> bool:
        code = letter.encode(encoding, "replace")
        return len(code) == 2 and first <= code[0] <= last

    return is_usual


def _is_japanese(letter: str) -> bool:
    return _is_kana(letter) or _is_mark(letter) or _LEVEL_ONE_JAPANESE(letter)


def _is_mark(letter: str) -> bool:
    return "\u3000" <= letter <= "\u303f" or "\uff00" <= letter <= "\uff5e" or "\u2010" <= letter <= "\u2026"


_LEVEL_ONE_JAPANESE = _has_lead("euc-jp", 0xB0, 0xCF)
_LEVEL_ONE_CHINESE = _has_lead("gb2312", 0xB0, 0xD7)
_LEVEL_ONE_TRADITIONAL = _has_lead("big5", 0xA4, 0xC6)
# Where two fit alike, the first is taken: in the places of Korean letters GB 18030 has some of the common Chinese ones, but
# Chinese text has others too.
_USUAL: dict[str, Callable[[str], bool]] = {
    "euc-kr": lambda letter: "\uac00" <= letter <= "\ud7a3" or _is_mark(letter),
    "gb18030": lambda letter: _is_mark(letter) or _LEVEL_ONE_CHINESE(letter),
    "euc-jp": _is_japanese,
    "shift_jis": _is_japanese,
    "big5": lambda letter: _is_mark(letter) or _LEVEL_ONE_TRADITIONAL(letter),
    "cp1252": lambda letter: letter in _WESTERN,
    "cp1251": lambda letter: "\u0410" <= letter <= "\u044f",
}
_WESTERN = "äöüßÄÖÜéèêëàâçîïôûùáíóúñÁÉÍÓÚÑåÅæøØœ«»€–—‘’“”…°£§"
