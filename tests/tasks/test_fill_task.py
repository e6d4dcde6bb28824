"""Filling blanks, against the scores of one text at a time."""

from collections.abc import Callable

import pytest
import torch

from bertsmith.errors import ArtifactError, InputError
from bertsmith.model.bert import Bert
from bertsmith.tasks.fill import BlankReader, Filled
from bertsmith.tasks.predictor import predictions
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import PackedBatch

TEXTS = ["the cat [MASK] the moon.", "[MASK] [MASK] 北[MASK]", "a bird sees [MASK]"]


def fill(model: Bert, tokenizer: Tokenizer, texts: list[str], top: int = 5) -> list[Filled]:
    def scores(batch: PackedBatch, positions: torch.Tensor) -> torch.Tensor:
        return model(batch, positions=positions).token_logits

    reader = BlankReader(scores, tokenizer, model.config.max_positions, top)
    return [filled for _, filled in predictions(reader, texts, 20)]


@pytest.fixture
def model(toy_model: Callable[..., Bert]) -> Bert:
    return toy_model(initializer_range=0.5).eval()


def test_probabilities_and_order(model: Bert, toy_tokenizer: Tokenizer) -> None:
    filled = fill(model, toy_tokenizer, TEXTS, top=4)
    assert [one.text for one in filled] == TEXTS
    assert [len(one.blanks) for one in filled] == [1, 3, 1]
    for text, one in zip(TEXTS, filled, strict=True):
        batch = toy_tokenizer.pack([text])
        with torch.no_grad():
            probabilities_TV = model(batch).token_logits.softmax(dim=-1)
        rows = [row for row, token_id in enumerate(batch.token_ids.tolist()) if token_id == toy_tokenizer.mask_id]
        for row, candidates in zip(rows, one.blanks, strict=True):
            best = sorted(enumerate(probabilities_TV[row].tolist()), key=lambda entry: -entry[1])[:4]
            assert [candidate.token for candidate in candidates] == [toy_tokenizer.tokens[token_id] for token_id, _ in best]
            assert [candidate.probability for candidate in candidates] == pytest.approx([p for _, p in best], abs=1e-5)


def test_no_more_candidates_than_tokens(model: Bert, toy_tokenizer: Tokenizer) -> None:
    (filled,) = fill(model, toy_tokenizer, ["[MASK]"], top=10**6)
    assert len(filled.blanks[0]) == toy_tokenizer.vocabulary_size
    assert sum(candidate.probability for candidate in filled.blanks[0]) == pytest.approx(1)


def test_rows_of_the_model_beyond_the_tokens_are_no_candidates(toy_tokenizer: Tokenizer) -> None:
    n_tokens = toy_tokenizer.vocabulary_size

    def scores(_batch: PackedBatch, positions: torch.Tensor) -> torch.Tensor:
        return torch.arange(n_tokens + 6.0).expand(len(positions), -1)

    ((_, filled),) = predictions(BlankReader(scores, toy_tokenizer, 32, 2), ["[MASK]"], 20)
    assert [candidate.token for candidate in filled.blanks[0]] == [toy_tokenizer.tokens[-1], toy_tokenizer.tokens[-2]]
    assert filled.blanks[0][0].probability == pytest.approx(0.0015663, rel=1e-3)


@pytest.mark.parametrize("text", ["", "the cat", "mask", "[mask]"])
def test_no_blank(model: Bert, toy_tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(InputError, match=r"no blank to fill in .*: write \[MASK\]"):
        fill(model, toy_tokenizer, ["[MASK]", text])


def test_too_long_is_never_cut(model: Bert, toy_tokenizer: Tokenizer) -> None:
    fits = "[MASK]" + " the" * 61
    assert len(fill(model, toy_tokenizer, [fits])) == 1
    with pytest.raises(InputError, match=r"\.\.\.' has 65 tokens; this model reads at most 64"):
        fill(model, toy_tokenizer, [fits + " cat"])


def test_a_vocabulary_without_a_mask(model: Bert, toy_tokenizer: Tokenizer) -> None:
    entries = [token for token in toy_tokenizer.tokens if token != "[MASK]"]
    with pytest.raises(ArtifactError, match=r"no \[MASK\] in its vocabulary"):
        fill(model, Tokenizer.build(entries, lowercase=True), ["the"])
