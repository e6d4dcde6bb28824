"""What is said once."""

import logging

import pytest

from bertsmith.notices import say_once


def test_the_same_message_comes_once_and_another_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bertsmith"):
        for message in ("said twice here", "said twice here", "said here too"):
            say_once(message)
        say_once("by the way", logging.INFO)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "said twice here"),
        ("WARNING", "said here too"),
        ("INFO", "by the way"),
    ]
