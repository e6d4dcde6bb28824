"""Durations as a configuration has them."""

import pytest

from bertsmith.errors import UsageError
from bertsmith.pretraining.options import seconds


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2d", 172_800)])
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "30", "30 minutes", "-5m", "0s", "nanh", "infh", "1e999h", "h2"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="such as 30m; not "):
        seconds(text)
