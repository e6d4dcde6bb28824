"""Fine-tuning side by side with transformers' class of each task, from the same weights: the same loss at every step."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional as F

from bertsmith.artifacts.directory import save_model
from bertsmith.model.bert import Bert, Heads, initialise, set_dropout, uninitialised
from bertsmith.tasks.files.choices import ChoiceExample
from bertsmith.tasks.files.questions import GoldAnswer as Gold
from bertsmith.tasks.files.questions import Question
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.answer import Answer
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.multilabel import Multilabel
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.kinds.tag import Tag, TagExample
from bertsmith.tasks.saved import task_values
from bertsmith.tasks.task import SampleBatch, Task

N_STEPS, BATCH_SIZE, IGNORED = 25, 6, -100
DRAW = random.Random(0)


def _letters(least: int, most: int) -> str:
    return " ".join(DRAW.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(DRAW.randint(least, most)))


def _texts(label: Callable[[str], Any]) -> list[TextExample]:
    texts = [_letters(1, 12) for _ in range(24)]
    return [TextExample(text, _letters(1, 6) if n % 2 else None, label(text), str(n), "") for n, text in enumerate(texts)]


def _sentences() -> list[TagExample]:
    sentences = [tuple(_letters(1, 12).split()) for _ in range(24)]
    return [TagExample(words, tuple("X" if word < "m" else "Y" for word in words), "", (), "") for words in sentences]


def _questions() -> list[Question]:
    contexts = [_letters(4, 12) for _ in range(24)]
    starts = [2 * DRAW.randint(0, len(context.split()) - 1) for context in contexts]
    golds = [Gold(context[start], start) for context, start in zip(contexts, starts, strict=True)]
    return [
        Question(str(n), gold.text, context, (gold,), "", "")
        for n, (context, gold) in enumerate(zip(contexts, golds, strict=True))
    ]


def _choices() -> list[ChoiceExample]:
    """The right choice is the one with an a."""
    choices = [[_letters(1, 8).replace("a", "b") for _ in range(3)] for _ in range(24)]
    for number, own in enumerate(choices):
        own[number % 3] += " a a"
    return [ChoiceExample(_letters(1, 5), tuple(own), n % 3, str(n), "") for n, own in enumerate(choices)]


def _row_labels(batch: SampleBatch, mask: torch.Tensor) -> torch.Tensor:
    labels = torch.full(mask.shape, IGNORED)
    for row, sample in enumerate(batch.samples):
        labels[row, sample.target.rows] = torch.from_numpy(sample.target.labels)
    return labels


CASES: dict[str, tuple[Task, list[Any], type, Callable[[SampleBatch, Any], dict[str, Any]]]] = {
    "classify": (
        Classify(),
        _texts(lambda text: str("e" in text)),
        transformers.BertForSequenceClassification,
        lambda batch, _: {"labels": batch.targets(torch.int64, torch.device("cpu"))},
    ),
    "multilabel": (
        Multilabel(),
        _texts(lambda text: [letter for letter in "aeiou" if letter in text]),
        transformers.BertForSequenceClassification,
        lambda batch, _: {"labels": batch.targets(torch.float32, torch.device("cpu"))},
    ),
    "regress": (
        Regress(),
        _texts(lambda text: float(len(text)) / 10),
        transformers.BertForSequenceClassification,
        lambda batch, _: {"labels": batch.targets(torch.float32, torch.device("cpu"))},
    ),
    "tag": (
        Tag(),
        _sentences(),
        transformers.BertForTokenClassification,
        lambda batch, view: {"labels": _row_labels(batch, view.mask)},
    ),
    "answer": (
        Answer(max_length=32),
        _questions(),
        transformers.BertForQuestionAnswering,
        lambda batch, _: {
            "start_positions": torch.tensor([sample.target[0].first for sample in batch.samples]),
            "end_positions": torch.tensor([sample.target[0].last for sample in batch.samples]),
        },
    ),
    "choose": (
        Choose(),
        _choices(),
        transformers.BertForMultipleChoice,
        lambda batch, _: {"labels": batch.targets(torch.int64, torch.device("cpu"))},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_of_every_step(name, tiny_config, tiny_tokenizer, padded, tmp_path):
    task, examples, kind, labels_of = CASES[name]
    task = task.fitted(examples).model_copy(update={"max_length": 32})
    ours = _start(task, tiny_config)
    save_model(ours, tiny_tokenizer, tmp_path / "model", "", task_values(task))
    theirs = kind.from_pretrained(tmp_path / "model").train()
    samples = [sample for own in task.samples(examples, tiny_tokenizer, labelled=True) for sample in own]
    optimisers = [torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01) for model in (ours, theirs)]
    losses = np.empty((N_STEPS, 2))
    for step in range(N_STEPS):
        start = step * BATCH_SIZE % len(samples)
        batch = SampleBatch.collate(samples[start : start + BATCH_SIZE])
        view = padded(batch.inputs)
        for column, optimiser in enumerate(optimisers):
            optimiser.zero_grad()
            loss = _our_loss(ours, task, batch) if column == 0 else _their_loss(theirs, view, batch, labels_of(batch, view))
            loss.backward()
            optimiser.step()
            losses[step, column] = loss.item()
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=0, atol=1e-4)
    assert losses[-4:, 0].mean() < 0.97 * losses[:4, 0].mean(), "nothing was learned, so the steps show little"


def _start(task: Task, config: Any) -> Bert:
    model = uninitialised(config, Heads(task=task.head()))
    initialise(model, 0)
    set_dropout(model, 0.0)
    return model.train()


def _our_loss(model: Bert, task: Task, batch: SampleBatch) -> torch.Tensor:
    logits = model.logits(batch.inputs).task_logits
    return task.loss(logits, batch, model.task) / sum(task.n_targets(sample) for sample in batch.samples)


def _their_loss(model: Any, view: Any, batch: SampleBatch, labels: dict[str, Any]) -> torch.Tensor:
    inputs = view.inputs
    if (n_choices := len(batch.samples[0].windows)) > 1:
        inputs = {name: values.unflatten(0, (-1, n_choices)) for name, values in inputs.items()}
    if "start_positions" not in labels:
        return model(**inputs, **labels).loss
    # transformers' own loss lets the answer begin in the padding.
    out = model(**inputs)
    scores = (logits.masked_fill(~view.mask, -torch.inf) for logits in (out.start_logits, out.end_logits))
    return sum(F.cross_entropy(one, right) for one, right in zip(scores, labels.values(), strict=True)) / 2
