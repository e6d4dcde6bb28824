"""Parts that are computed between two looks at who waits."""

import pytest

from bertsmith.inspection import watcher
from bertsmith.inspection.watcher import Cancelled, Watcher, in_parts


@pytest.mark.parametrize(
    ("lengths", "parts", "shares"),
    [
        ([], [], []),
        ([4], [slice(0, 1)], [0]),
        ([40], [slice(0, 1)], [0]),
        ([5, 5, 5], [slice(0, 2), slice(2, 3)], [0, 2 / 3]),
        ([12, 3, 7, 2], [slice(0, 1), slice(1, 3), slice(3, 4)], [0, 12 / 24, 22 / 24]),
    ],
)
def test_parts_hold_as_much_as_is_computed_at_once(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], parts: list[slice], shares: list[float]
) -> None:
    monkeypatch.setattr(watcher, "TOKENS_AT_ONCE", 10)
    waiting = Watcher()
    assert [(part, waiting.share) for part in in_parts(lengths, waiting)] == list(zip(parts, shares, strict=True))


def test_no_part_is_begun_for_nobody() -> None:
    waiting = Watcher()
    parts = in_parts([900, 900], waiting)
    assert next(parts) == slice(0, 1)
    waiting.leave()
    with pytest.raises(Cancelled):
        next(parts)
