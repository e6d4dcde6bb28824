"""Heads of tasks: shapes, that a sequence's company does not matter, how they begin, and what precision leaves them in."""

import copy

import pytest
import torch
from torch import Tensor, nn

from bertsmith.model.bert import Bert, Heads, initialise, uninitialised
from bertsmith.model.heads.pooling import SentenceVectors
from bertsmith.model.heads.scoring_head import TaskHead
from bertsmith.model.heads.sequence import ChoiceScores, SequenceScores
from bertsmith.model.heads.span import SpanScores
from bertsmith.model.heads.token import TokenScores
from bertsmith.training.precision import HalfMatrices, apply_precision, task_logits
from bertsmith.types import PackedBatch

LENGTHS = [5, 2, 9, 9, 3]
LABELS = ("O", "B-X", "I-X")
# I-X follows B-X or I-X and begins no sentence; a sentence may end with anything.
MOVES = ("110", "111", "111", "110", "111")
PER_SEQUENCE: dict[str, tuple[TaskHead, int]] = {
    "classes": (SequenceScores(("a", "b", "c", "d")), 4),
    "labels": (SequenceScores(("a", "b"), "multi_label_classification"), 2),
    "number": (SequenceScores(("score",), "regression"), 1),
    "choice": (ChoiceScores(), 1),
    "mean": (SequenceScores(("a", "b"), pooling="mean"), 2),
    "max": (SequenceScores(("a", "b"), pooling="max"), 2),
    "attention": (SequenceScores(("a", "b"), pooling="attention"), 2),
}
PER_TOKEN: dict[str, tuple[TaskHead, int]] = {
    "tags": (TokenScores(LABELS), 3),
    "crf": (TokenScores(LABELS, "crf", MOVES), 3),
    "bilstm-crf": (TokenScores(LABELS, "bilstm-crf", MOVES), 3),
    "span": (SpanScores(), 2),
}
TASKS = {name: task for name, (task, _) in {**PER_SEQUENCE, **PER_TOKEN}.items()}
WITH_CRF = [TASKS["crf"], TASKS["bilstm-crf"]]
each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
DIFFERENT = ["classes", "attention", "crf", "bilstm-crf", "span"]
each_module = pytest.mark.parametrize("task", [TASKS[name] for name in DIFFERENT], ids=DIFFERENT)


def _sequence(batch: PackedBatch, index: int) -> PackedBatch:
    first, stop = batch.cu_seqlens[index : index + 2].tolist()
    return PackedBatch.from_arrays(
        batch.token_ids[first:stop].numpy(),
        batch.segment_ids[first:stop].numpy(),
        batch.cu_seqlens.diff()[index : index + 1].numpy(),
    )


def _initialised(config, task: TaskHead, seed: int = 0) -> Bert:
    model = uninitialised(config, Heads(task=task))
    initialise(model, seed)
    return model.eval()


def _by_sequence(logits: Tensor) -> list[Tensor]:
    return list(torch.split(logits, 1 if len(logits) == len(LENGTHS) else LENGTHS))


@pytest.mark.parametrize(("task", "n_scores"), PER_SEQUENCE.values(), ids=PER_SEQUENCE.keys())
def test_heads_of_sequences_score_each_sequence(random_model, random_batch, task, n_scores):
    found = random_model(Heads(task=task))(random_batch(LENGTHS, 31, 0))
    assert found.task_logits.shape == (len(LENGTHS), n_scores)
    assert (found.pooled, found.token_logits, found.next_sentence_logits) == (None, None, None)


@pytest.mark.parametrize(("task", "n_scores"), PER_TOKEN.values(), ids=PER_TOKEN.keys())
def test_heads_of_tokens_score_each_token(random_model, random_batch, task, n_scores):
    found = random_model(Heads(task=task))(random_batch(LENGTHS, 31, 0))
    assert found.task_logits.shape == (sum(LENGTHS), n_scores)


@pytest.mark.parametrize("name", [*TASKS, "first vectors", "mean vectors"])
def test_heads_say_what_they_read_and_what_they_score(random_model, random_batch, name):
    vectors = {"first vectors": SentenceVectors("cls"), "mean vectors": SentenceVectors("mean")}
    model, batch = random_model(Heads(task={**TASKS, **vectors}[name])), random_batch(LENGTHS, 31, 0)
    head, hidden = model.task, model(batch).hidden
    changed = hidden + 1
    changed[batch.cu_seqlens[:-1].long()] = hidden[batch.cu_seqlens[:-1].long()]
    scores, others = head(hidden, batch), head(changed, batch)
    assert torch.equal(scores, others) == (head.reads == "first tokens")
    assert len(scores) == {"sequences": batch.n_sequences, "tokens": batch.n_tokens}[head.scores]


def test_a_model_without_task_has_no_logits_of_one(random_model, random_batch):
    assert random_model(Heads(pooler=True))(random_batch(LENGTHS, 31, 0)).task_logits is None


@each_task
def test_a_sequence_does_not_see_its_neighbours(random_model, random_batch, task):
    model, batch = random_model(Heads(task=task)), random_batch(LENGTHS, 31, 0)
    with torch.no_grad():
        together = _by_sequence(model(batch).task_logits)
        for index, expected in enumerate(together):
            torch.testing.assert_close(model(_sequence(batch, index)).task_logits, expected, rtol=0, atol=1e-5)


@each_module
def test_the_logits_depend_on_the_text(random_model, random_batch, task):
    model = random_model(Heads(task=task))
    first, second = (_by_sequence(model(random_batch(LENGTHS, 31, seed)).task_logits) for seed in (0, 1))
    assert not any(torch.allclose(one, other, atol=1e-3) for one, other in zip(first, second, strict=True))


@each_module
def test_the_logits_alone_are_those_of_the_whole_forward_pass(random_model, random_batch, task):
    model, batch = random_model(Heads(task=task)), random_batch(LENGTHS, 31, 0)
    forward = task_logits(apply_precision(model, torch.device("cpu"), torch.float32), torch.device("cpu"))
    torch.testing.assert_close(forward(batch), model(batch).task_logits.detach(), rtol=0, atol=1e-5)


def test_a_bilstm_reads_each_sequence_alone_and_both_ways(random_model, random_batch):
    model, batch = random_model(Heads(task=TASKS["bilstm-crf"])), random_batch(LENGTHS, 31, 0)
    found = model(batch)
    expected = []
    for hidden in torch.split(found.hidden, LENGTHS):
        recurrent, _ = model.task.lstm(hidden)
        expected.append(model.task.classifier(recurrent))
    torch.testing.assert_close(found.task_logits, torch.cat(expected), rtol=0, atol=1e-5)
    # A change at one end is seen at the other, in both directions.
    sequence = _sequence(batch, 2)
    hidden = model.encoder(sequence).hidden
    for changed, seen in ((0, -1), (-1, 0)):
        other = hidden.clone()
        other[changed] += 1
        assert not torch.equal(model.task(other, sequence)[seen], model.task(hidden, sequence)[seen])


def test_dropout_is_applied_in_training_only(random_model, random_batch):
    for name in ("classes", "tags", "bilstm-crf"):
        model, batch = copy.deepcopy(random_model(Heads(task=TASKS[name]))), random_batch(LENGTHS, 31, 0)
        assert torch.equal(model(batch).task_logits, model(batch).task_logits)
        model.task.train()  # and not the encoder, so that what varies is the head
        assert not torch.equal(model(batch).task_logits, model(batch).task_logits), name


@each_task
def test_initialisation_sets_every_weight(tiny_config, task):
    first, second = (uninitialised(tiny_config, Heads(task=task)) for _ in range(2))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.fill_(torch.nan)
        for parameter in second.parameters():
            parameter.fill_(1e9)
    for model in (first, second):
        initialise(model, 5)
    assert all(parameter.device.type == "cpu" for parameter in first.parameters())
    for name, weight in second.state_dict().items():
        assert torch.equal(first.state_dict()[name], weight), name
        assert weight.abs().max() <= 1, name


@each_module
def test_another_seed_gives_other_weights(tiny_config, task):
    first, second = (_initialised(tiny_config, task, seed).task.state_dict() for seed in (0, 1))
    for name, weight in first.items():
        assert torch.equal(weight, second[name]) == (weight.dim() == 1 and bool((weight == 0).all())), name


@pytest.mark.parametrize("task", WITH_CRF, ids=["crf", "bilstm-crf"])
def test_which_moves_are_legal_survives_building_without_memory(tiny_config, task):
    crf = _initialised(tiny_config, task).task.crf
    allowed = [[move == "1" for move in row] for row in MOVES]
    assert crf.allowed_moves.tolist() == allowed[:3]
    assert crf.allowed_starts.tolist() == allowed[3]
    assert crf.allowed_ends.tolist() == allowed[4]
    # Words that all look like I-X: one has to begin with B-X.
    emissions = torch.tensor([[0.0, 1.0, 9.0]] * 3)
    assert crf.viterbi(emissions, [3]) == [[1, 2, 2]]


def test_only_a_crf_has_one(tiny_config):
    heads = {name: _initialised(tiny_config, task).task for name, task in TASKS.items() if isinstance(task, TokenScores)}
    assert [heads[name].crf is None for name in ("tags", "crf", "bilstm-crf")] == [True, False, False]
    assert [heads[name].lstm is None for name in ("tags", "crf", "bilstm-crf")] == [True, True, False]


def test_heads_can_be_told_apart():
    assert Heads(task=SequenceScores(("a", "b"))) == Heads(task=SequenceScores(("a", "b")))
    for other in (("a", "c"), ("b", "a"), ("a", "b", "c")):
        assert SequenceScores(("a", "b")) != SequenceScores(other)
    assert SequenceScores(("a", "b")) != SequenceScores(("a", "b"), "multi_label_classification")
    assert len(set(TASKS.values())) == len(TASKS)


@each_module
def test_half_precision_leaves_the_head_in_float32(random_model, random_batch, task):
    master, batch = copy.deepcopy(random_model(Heads(task=task))), random_batch(LENGTHS, 31, 0)
    precision = HalfMatrices(master, torch.bfloat16)
    assert all(parameter.dtype == torch.float32 for parameter in precision.compute.task.parameters())
    assert all(one is other for one, other in _pairs(precision.compute.task, master.task))
    halves = [module.weight.dtype for module in precision.compute.encoder.modules() if isinstance(module, nn.Linear)]
    assert set(halves) == {torch.bfloat16}
    logits = task_logits(precision, torch.device("cpu"))(batch)
    assert logits.dtype == torch.float32
    # Scores rounded to bfloat16 would have zeros in the lower half of every number.
    assert (logits.view(torch.int32) & 0xFFFF).any()
    torch.testing.assert_close(logits, master(batch).task_logits.detach(), rtol=0.2, atol=0.2)


@each_module
def test_half_precision_trains_the_masters_of_the_head(tiny_config, random_batch, task):
    master, batch = _initialised(tiny_config, task), random_batch(LENGTHS, 31, 0)
    precision = apply_precision(master, torch.device("cpu"), torch.bfloat16)
    before = task_logits(precision, torch.device("cpu"))(batch)
    precision.compute(batch).task_logits.square().sum().backward()
    precision.collect()
    moved = {name: parameter for name, parameter in master.named_parameters() if ".crf." not in name}
    assert all(parameter.grad is not None for parameter in moved.values())
    with torch.no_grad():
        for parameter in moved.values():
            parameter += torch.sign(parameter.grad) * 0.1
    precision.publish()
    after = task_logits(precision, torch.device("cpu"))(batch)
    assert not torch.allclose(before, after, atol=1e-2)
    torch.testing.assert_close(after, master(batch).task_logits.detach(), rtol=0.2, atol=0.2)


@each_module
def test_logits_are_without_dropout_and_leave_the_mode_of_training(random_model, random_batch, task):
    model, batch = copy.deepcopy(random_model(Heads(task=task))), random_batch(LENGTHS, 31, 0)
    expected = model(batch).task_logits.detach()
    model.train()
    found = task_logits(apply_precision(model, torch.device("cpu"), torch.float32), torch.device("cpu"))(batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert model.training
    assert not found.requires_grad


def _pairs(module: nn.Module, other: nn.Module) -> list[tuple[Tensor, Tensor]]:
    return list(zip(module.parameters(), other.parameters(), strict=True))
