"""Candidates as ``fill`` gives them, after each layer too; next sentences; pseudo-perplexity token by token."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from bertsmith.engine.engine import make_engine
from bertsmith.errors import Refusal
from bertsmith.inference.pipelines import FillPipeline
from bertsmith.inspection.figures.prediction import next_sentence, predict, pseudo_perplexity
from bertsmith.inspection.figures.score_probes import token_probe
from bertsmith.inspection.subject import Subject
from bertsmith.inspection.watcher import Cancelled, Watcher
from bertsmith.model.bert import MASKED_TOKEN, Heads, initialise, uninitialised
from bertsmith.model.model_config import ModelConfig
from bertsmith.text.tokenizer import Tokenizer

TEXT, PAIR = "the cats sees the red house.", "a small child likes the moon."


def test_candidates_are_those_of_fill(subject: Subject) -> None:
    found = predict(subject.read("the cat sees the red house."), 2, masked=True)
    (filled,) = FillPipeline(make_engine(subject.model), subject.tokenizer)(["the [MASK] sees the red house."], top=10)
    assert [one.token for one in found.candidates] == [one.token for one in filled.blanks[0]]
    np.testing.assert_allclose(
        [one.probability for one in found.candidates], [one.probability for one in filled.blanks[0]], rtol=1e-5
    )
    assert [subject.tokenizer.tokens[one.id] for one in found.candidates] == [one.token for one in found.candidates]
    assert found.original == "cat"


@pytest.mark.parametrize("masked", [True, False])
def test_numbers_of_a_prediction(subject: Subject, masked: bool) -> None:
    reading = subject.read(TEXT, PAIR)
    found = predict(reading, 4, masked=masked)
    batch = reading.batch()
    original = int(batch.token_ids[4])
    if masked:
        batch.token_ids[4] = subject.tokenizer.mask_id
    output = subject.model(batch, want_layers=True)
    probabilities = output.token_logits[4].softmax(0)
    assert found.original_probability == pytest.approx(float(probabilities[original]), rel=1e-4)
    assert found.original_rank == 1 + sorted(probabilities.tolist(), reverse=True).index(float(probabilities[original]))
    assert found.entropy == pytest.approx(-float((probabilities * probabilities.log2()).sum()), abs=1e-4)
    assert [one.layer for one in found.layers] == [0, 1, 2, 3]
    for readout, states in zip(found.layers, output.layers, strict=True):
        at_layer = subject.model.masked_token(states[4:5])[0].softmax(0)
        best = at_layer.topk(5)
        assert [one.id for one in readout.candidates] == best.indices.tolist()
        np.testing.assert_allclose([one.probability for one in readout.candidates], best.values, rtol=1e-4)
        assert readout.original_probability == pytest.approx(float(at_layer[original]), rel=1e-4)
    assert found.layers[-1].candidates == found.candidates[:5] and found.layers[-1].entropy == found.entropy


def test_a_token_that_is_not_there(subject: Subject) -> None:
    with pytest.raises(Refusal, match="no token 4: the text has 4"):
        predict(subject.read("the cat"), 4, masked=True)


def test_next_sentence_is_the_heads(subject: Subject) -> None:
    found = next_sentence(subject.read(TEXT, PAIR))
    expected = subject.model(subject.tokenizer.pack([(TEXT, PAIR)])).next_sentence_logits.softmax(1)[0]
    assert (found.follows, found.elsewhere) == pytest.approx(tuple(expected.tolist()), rel=1e-4)


def test_pseudo_perplexity_masks_one_token_at_a_time(subject: Subject) -> None:
    found = pseudo_perplexity(subject.read(TEXT, PAIR))
    encoding = subject.tokenizer.encode(TEXT, PAIR)
    positions = [position for position, word in enumerate(encoding.word_ids) if word is not None]
    assert [one.position for one in found.tokens] == positions
    for one in found.tokens:
        batch = subject.read(TEXT, PAIR).batch()
        batch.token_ids[one.position] = subject.tokenizer.mask_id
        logarithms = subject.model(batch).token_logits[one.position].log_softmax(0)
        assert one.log_probability == pytest.approx(float(logarithms[encoding.token_ids[one.position]]), abs=1e-4)
        assert one.probability == pytest.approx(math.exp(one.log_probability))
        assert one.likeliest == subject.tokenizer.tokens[int(logarithms.argmax())]
    mean = sum(one.log_probability for one in found.tokens) / len(positions)
    assert found.perplexity == pytest.approx(math.exp(-mean))


def test_pseudo_perplexity_in_several_parts_is_the_same(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pseudo_perplexity(subject.read(TEXT))
    monkeypatch.setattr("bertsmith.inspection.watcher.TOKENS_AT_ONCE", 30)
    in_parts = pseudo_perplexity(subject.read(TEXT))
    np.testing.assert_allclose(
        [one.log_probability for one in in_parts.tokens], [one.log_probability for one in whole.tokens], atol=1e-5
    )


def test_nobody_waits_for_it_any_more(subject: Subject, gone: Watcher) -> None:
    with pytest.raises(Cancelled):
        pseudo_perplexity(subject.read(TEXT), gone)


def test_pseudo_perplexity_is_bounded(make_subject: Callable[..., Subject]) -> None:
    with pytest.raises(Refusal, match="298 tokens; one by one at most 256"):
        pseudo_perplexity(make_subject(max_positions=300).read("the " * 400))


def test_a_text_of_no_tokens_has_no_perplexity(subject: Subject) -> None:
    with pytest.raises(Refusal, match="holds no tokens"):
        pseudo_perplexity(subject.read("\u200b"))


def test_heads_that_are_not_there_are_named(make_subject: Callable[..., Subject]) -> None:
    encoder, masked_only = make_subject(Heads()), make_subject(MASKED_TOKEN)
    for ask in (lambda reading: predict(reading, 1, masked=True), pseudo_perplexity):
        with pytest.raises(Refusal, match="no masked-token head") as caught:
            ask(encoder.read("the cat"))
        assert caught.value.code == "missing"
    with pytest.raises(Refusal, match="no next-sentence head"):
        next_sentence(masked_only.read("the cat", "a moon"))
    with pytest.raises(Refusal, match="takes two texts") as caught:
        next_sentence(make_subject().read("the cat"))
    assert caught.value.code == "needs_pair"


def test_looking_changes_nothing(subject: Subject) -> None:
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    predict(subject.read(TEXT), 1, masked=True)
    pseudo_perplexity(subject.read(TEXT))
    assert all(torch.equal(value, before[name]) for name, value in subject.model.state_dict().items())


def test_rows_of_the_model_beyond_the_tokens_are_never_named(toy_tokenizer: Tokenizer) -> None:
    config = ModelConfig(
        vocabulary_size=toy_tokenizer.vocabulary_size + 8, width=16, n_layers=1, n_heads=2, feed_forward_width=16
    )
    model = uninitialised(config, MASKED_TOKEN)
    initialise(model, 0)
    assert model.masked_token is not None
    with torch.no_grad():
        model.masked_token.bias[-8:] = 100.0
    reading = Subject.of(model, toy_tokenizer).read(TEXT)
    assert all(one.id < toy_tokenizer.vocabulary_size for one in predict(reading, 2, masked=True).candidates)
    assert all(one.likeliest in toy_tokenizer.tokens for one in pseudo_perplexity(reading).tokens)
    probe = token_probe(reading, 2)
    assert probe.logits(torch.from_numpy(reading.layers[-1]), reading.batch()).shape[-1] == len(probe.labels)
