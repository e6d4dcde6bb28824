"""Encodings that text which is not UTF-8 seems to have."""

import pytest

from bertsmith.sources.encodings import guessed_encoding

CHINESE = "这家酒店的服务很好，下次还会再来。"
TRADITIONAL = "這家酒店的服務很好，下次還會再來。"
JAPANESE = "このホテルのサービスはとても良いです。"
KOREAN = "이 호텔은 서비스가 아주 좋습니다."


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        (CHINESE, "gbk", "gb18030"),
        (TRADITIONAL, "big5", "big5"),
        (JAPANESE, "shift_jis", "shift_jis"),
        (JAPANESE, "euc-jp", "euc-jp"),
        (KOREAN, "euc-kr", "euc-kr"),
        ("Das Hotel war schön, der Fisch köstlich, die Straße laut", "cp1252", "cp1252"),
        ("Отель был очень хорошим", "cp1251", "cp1251"),
        ("one letter \xff alone", "latin-1", None),
    ],
)
def test_the_encoding_of_text(text: str, encoding: str, guess: str | None) -> None:
    data = f"text,label\n{text},1\n".encode(encoding)
    with pytest.raises(UnicodeDecodeError) as error:
        data.decode("utf-8")
    assert guessed_encoding(data, error.value.start) == guess


def test_utf8_with_a_broken_byte_seems_nothing_else() -> None:
    data = (CHINESE * 3).encode()[:-1] + b"\n" + CHINESE.encode()
    assert guessed_encoding(data, len(data) - len(CHINESE.encode()) - 3) is None
