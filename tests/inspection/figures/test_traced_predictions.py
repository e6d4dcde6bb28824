"""What predictions owe to tokens and to heads: integrated gradients, erasure, heads switched off."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bertsmith.errors import Refusal
from bertsmith.inspection.figures.ablation import ablate, ablation
from bertsmith.inspection.figures.attribution import attribution
from bertsmith.inspection.figures.score_probes import best_span
from bertsmith.inspection.subject import Reading, Subject
from bertsmith.inspection.watcher import Cancelled, Watcher
from bertsmith.model.bert import Heads
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.embed import Embed
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.rank import Rank
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.tasks.task import Task

SaveTask = Callable[[Task], Path]
TEXT, PAIR = "the cats sees the red house.", "a small child likes the moon."


@pytest.fixture
def classified(save_task: SaveTask) -> Reading:
    return Subject.load(save_task(Classify(labels=("no", "yes", "perhaps")))).read(TEXT, PAIR)


def _logits(reading: Reading) -> torch.Tensor:
    return reading.subject.model(reading.batch()).task_logits


def test_integrated_gradients_add_up_to_the_score(classified: Reading) -> None:
    pytest.importorskip("captum")
    found = attribution(classified, "integrated-gradients", "yes")
    batch = classified.batch()
    assert found.value == pytest.approx(float(_logits(classified)[0, 1]), abs=1e-4)
    batch.token_ids[~torch.tensor(classified.is_special)] = classified.subject.tokenizer.mask_id
    assert found.baseline == pytest.approx(float(classified.subject.model(batch).task_logits[0, 1]), abs=1e-4)
    assert found.scores.sum() + found.gap == pytest.approx(found.value - found.baseline, abs=1e-4)
    assert abs(found.gap) < 0.05 * abs(found.value - found.baseline)
    assert (found.scores[np.array(classified.is_special)] == 0).all() and np.abs(found.scores).max() > 0.1


def test_integrated_gradients_are_the_integral(classified: Reading) -> None:
    pytest.importorskip("captum")
    model, tokenizer = classified.subject.model, classified.subject.tokenizer
    batch, special = classified.batch(), torch.tensor(classified.is_special)
    embeddings = model.encoder.embeddings
    whole = embeddings.token(batch.token_ids)
    nothing = torch.where(special[:, None], whole, embeddings.token.weight[tokenizer.mask_id])
    gradients, n_steps = torch.zeros_like(whole), 200
    for step in range(n_steps):
        point = (nothing + (step + 0.5) / n_steps * (whole - nothing)).requires_grad_()
        handle = embeddings.token.register_forward_hook(lambda *_, point=point: point)
        (gradient,) = torch.autograd.grad(model(batch).task_logits[0, 2], point)
        handle.remove()
        gradients += gradient / n_steps
    expected = (gradients * (whole - nothing)).sum(1)
    found = attribution(classified, "integrated-gradients", "perhaps")
    np.testing.assert_allclose(found.scores, expected, atol=0.05 * float(expected.abs().max()))


def test_erasure_is_the_difference_that_a_token_makes(classified: Reading) -> None:
    found = attribution(classified, "erasure")
    best = int(_logits(classified)[0].argmax())
    assert found.target == ("no", "yes", "perhaps")[best] and found.baseline is found.gap is None
    for position, special in enumerate(classified.is_special):
        batch = classified.batch()
        batch.token_ids[position] = classified.subject.tokenizer.mask_id
        expected = float(_logits(classified)[0, best] - classified.subject.model(batch).task_logits[0, best])
        assert found.scores[position] == pytest.approx(0 if special else expected, abs=1e-4)


def test_attribution_of_a_predicted_token(subject: Subject) -> None:
    reading = subject.read(TEXT)
    found = attribution(reading, "erasure", "moon", position=2)
    batch = reading.batch()
    batch.token_ids[2] = subject.tokenizer.mask_id
    moon = subject.tokenizer.id("moon")
    value = subject.model(batch).token_logits[2, moon]
    assert found.value == pytest.approx(float(value), abs=1e-4) and found.scores[2] == 0
    batch.token_ids[5] = subject.tokenizer.mask_id
    assert found.scores[5] == pytest.approx(float(value - subject.model(batch).token_logits[2, moon]), abs=1e-4)


def test_attribution_of_tags_numbers_labels_and_answers(save_task: SaveTask) -> None:
    tags = Subject.load(save_task(Tag(labels=("O", "B-X", "I-X"), scheme="iob2", units="words"))).read(TEXT)
    assert attribution(tags, "erasure", "B-X", 2).value == pytest.approx(float(_logits(tags)[2, 1]), abs=1e-4)
    with pytest.raises(Refusal, match="of which token"):
        attribution(tags, "erasure")
    number = Subject.load(save_task(Regress())).read(TEXT)
    assert attribution(number, "erasure").value == pytest.approx(float(_logits(number)[0, 0]), abs=1e-4)
    relevance = Subject.load(save_task(Rank())).read(TEXT, PAIR)
    assert attribution(relevance, "erasure").value == pytest.approx(float(_logits(relevance)[0, 0]), abs=1e-4)
    labels = Subject.load(save_task(Multilabel(labels=("a", "b")))).read(TEXT)
    assert attribution(labels, "erasure", "b").value == pytest.approx(float(_logits(labels)[0, 1]), abs=1e-4)
    answer = Subject.load(save_task(Answer(scorer="squad", has_no_answers=False))).read(TEXT, PAIR)
    (found,) = answer.subject.pipeline([(TEXT, PAIR)])
    offsets, segments = answer.encoding.offsets, answer.encoding.segment_ids
    rows = [row for row, (start, end) in enumerate(offsets) if segments[row] and found.start <= start < end <= found.end]
    traced = attribution(answer, "erasure")
    scores = _logits(answer)
    assert traced.target == found.text
    assert traced.value == pytest.approx(float(scores[rows[0], 0] + scores[rows[-1], 1]), abs=1e-4)


def test_what_cannot_be_attributed(subject: Subject, make_subject: Callable[..., Subject], save_task: SaveTask) -> None:
    for reading, arguments, message in (
        (subject.read(TEXT), ("erasure",), "which token is to be predicted"),
        (subject.read(TEXT), ("erasure", "sonne", 2), "'sonne' is no label or token"),
        (subject.read(TEXT), ("erasure", None, 99), "no token 99"),
        (make_subject(Heads()).read(TEXT), ("erasure", None, 2), "no masked-token head"),
        (make_subject(max_positions=300).read("the " * 400), ("erasure", None, 2), "at most 256 are attributed"),
        (Subject.load(save_task(Choose())).read(TEXT), ("erasure",), "compares several texts"),
        (Subject.load(save_task(Embed())).read(TEXT), ("erasure", None, 2), "no masked-token head"),
    ):
        with pytest.raises(Refusal, match=message):
            attribution(reading, *arguments)


def test_without_the_library_only_integrated_gradients_are_missing(
    classified: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertsmith.inspection.figures.attribution.has_captum", lambda: False)
    assert len(attribution(classified, "erasure").scores) == classified.n_tokens
    with pytest.raises(Refusal, match=r"pip install 'bertsmith\[inspect\]'"):
        attribution(classified, "integrated-gradients")


def _without_heads(reading: Reading, off: list[tuple[int, int]]) -> torch.Tensor:
    """Return the hidden states with the columns of the output projection that read the heads set to 0."""
    model = reading.subject.model
    width = model.config.width // model.config.n_heads
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    for layer, head in off:
        model.encoder.layers[layer - 1].attention.output.weight[:, (head - 1) * width : head * width] = 0
    hidden = model.encoder(reading.batch()).hidden.clone()
    model.load_state_dict(saved)
    return hidden


def test_each_head_off_by_itself(classified: Reading) -> None:
    found = ablation(classified, "task")
    model = classified.subject.model
    before = _logits(classified)[0].softmax(0)
    order = before.argsort(descending=True)
    assert found.labels == [("no", "yes", "perhaps")[number] for number in order]
    np.testing.assert_allclose(found.before, before[order], atol=1e-5)
    for layer, head in ((1, 1), (2, 3), (3, 4)):
        after = model.task(_without_heads(classified, [(layer, head)]), classified.batch())[0].softmax(0)
        np.testing.assert_allclose(found.after[layer - 1, head - 1], after[order], atol=1e-5)
        assert found.change[layer - 1, head - 1] == pytest.approx(float((after - before).abs().sum() / 2), abs=1e-5)


def test_each_head_off_for_a_tag_and_an_answer(save_task: SaveTask) -> None:
    tagged = Subject.load(save_task(Tag(labels=("O", "B-X", "I-X"), scheme="iob2", units="words"))).read(TEXT)
    found, hidden = ablation(tagged, "task", 2), _without_heads(tagged, [(2, 3)])
    after = tagged.subject.model.task(hidden, tagged.batch())[2].softmax(-1)
    assert dict(zip(found.labels, found.after[1, 2].tolist(), strict=True)) == pytest.approx(
        dict(zip(("O", "B-X", "I-X"), after.tolist(), strict=True)), abs=1e-5
    )
    answered = Subject.load(save_task(Answer())).read(TEXT, PAIR)
    found, (first, last, text) = ablation(answered, "task"), best_span(answered)
    after = answered.subject.model.task(_without_heads(answered, [(2, 3)]), answered.batch())
    assert found.labels == [text]
    assert found.after[1, 2, 0] == pytest.approx(float(after[first, 0] + after[last, 1]), abs=1e-4)
    assert found.change[1, 2] == pytest.approx(abs(found.after[1, 2, 0] - found.before[0]), abs=1e-5)


def test_heads_off_together_for_a_masked_token_and_next_sentences(subject: Subject) -> None:
    reading, off = subject.read(TEXT, PAIR), [(1, 2), (1, 3), (3, 1)]
    hidden = _without_heads(reading, off)
    expected = subject.model.next_sentence(hidden, reading.batch())[0].softmax(0)
    found = ablate(reading, "next-sentence", off)
    by_label = dict(zip(found.labels, found.after.tolist(), strict=True))
    assert (by_label["follows"], by_label["elsewhere"]) == pytest.approx(tuple(expected.tolist()), abs=1e-5)
    token = ablate(reading, "token", [(layer, head) for layer in (1, 2, 3) for head in (1, 2, 3, 4)], 2)
    assert len(token.labels) == 10 and token.change > 0.001
    assert (np.diff(token.before) <= 0).all()


def test_a_part_at_a_time_is_the_same(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ablation(subject.read(TEXT), "token", 2)
    monkeypatch.setattr("bertsmith.inspection.watcher.TOKENS_AT_ONCE", 40)
    parts = ablation(subject.read(TEXT), "token", 2)
    assert parts.labels == whole.labels
    np.testing.assert_allclose(parts.change, whole.change, atol=1e-5)


def test_what_cannot_be_ablated(subject: Subject, make_subject: Callable[..., Subject], gone: Watcher) -> None:
    reading = subject.read(TEXT)
    for ask, message in (
        (lambda: ablate(reading, "token", [(1, 5)], 2), "no head 1.5: the model has 3 layers of 4 heads"),
        (lambda: ablation(reading, "token"), "which token is to be predicted"),
        (lambda: ablation(reading, "task"), "not fine-tuned"),
        (lambda: ablation(reading, "next-sentence"), "takes two texts"),
        (lambda: ablation(make_subject(max_positions=200).read("the " * 200), "token", 2), "on at most 128"),
    ):
        with pytest.raises(Refusal, match=message):
            ask()
    with pytest.raises(Cancelled):
        ablation(reading, "token", 2, gone)
