"""What a terminal would obey is shown instead."""

from pathlib import Path
from typing import Any

from bertsmith.cli.screen import visible


def test_control_characters_are_seen() -> None:
    assert visible("a\x1b[31mred\x07\r\x00\x7f\x9b2J") == "a␛[31mred␇␍␀␡\\x9b2J"
    assert visible("".join(map(chr, range(0xA0)))).replace("\n", " ").replace("\t", " ").isprintable()


def test_all_else_is_left() -> None:
    text = "a line\n\twith ümlauts, 中文, 👩\u200d🚀 and عربى\xa0\u200f"
    assert visible(text) == text


def test_messages(run_command: Any, tmp_path: Path) -> None:
    code, _, err = run_command("info", tmp_path / "\x1b[2J")
    assert (code, err) == (1, f"error: {tmp_path}/␛[2J is not a directory\n")
