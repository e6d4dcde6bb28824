"""The page computes small batches on one thread."""

import pytest
import torch

from bertsmith.inspection.figures.score_probes import copies_in_parts
from bertsmith.inspection.gallery import Gallery
from bertsmith.inspection.requests import TextRequest
from bertsmith.inspection.views import VIEWS
from bertsmith.inspection.watcher import NOBODY
from bertsmith.model.encoder import Encoder


@pytest.mark.usefixtures("three_threads")
def test_parts_of_many_copies_get_all_threads() -> None:
    found = [torch.get_num_threads() for _ in copies_in_parts(18, 64, NOBODY)]
    assert found == [3, 1] and torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_a_short_text_is_read_on_one(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    forward = Encoder.forward
    monkeypatch.setattr(
        Encoder, "forward", lambda *given, **named: found.append(torch.get_num_threads()) or forward(*given, **named)
    )
    VIEWS["pseudo-perplexity"].ask(gallery, TextRequest(model="a", text="the cat sees the red house."))
    assert found == [1, 1]
