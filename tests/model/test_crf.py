"""The conditional random field against sums and maxima over every labelling written out."""

import itertools

import pytest
import torch
from torch import Tensor

from bertsmith.model.heads.crf import ConditionalRandomField

N_LABELS = 3
LENGTHS = [2, 5, 0, 1, 4, 5, 0]


def _field(constrained: bool = True, seed: int = 0) -> ConditionalRandomField:
    """Random scores; constrained: 1 may follow only 0 or 1, does not start, and 2 does not end."""
    allowed, starts, ends = torch.ones(N_LABELS, N_LABELS).bool(), torch.ones(N_LABELS).bool(), torch.ones(N_LABELS).bool()
    if constrained:
        allowed[2, 1] = starts[1] = ends[2] = False
    field = ConditionalRandomField(allowed, starts, ends)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.normal_(generator=generator)
    return field


def _emissions(lengths: list[int], seed: int = 1) -> Tensor:
    return 2 * torch.randn(sum(lengths), N_LABELS, generator=torch.Generator().manual_seed(seed))


def _labellings(field: ConditionalRandomField, length: int) -> list[tuple[int, ...]]:
    return [
        path
        for path in itertools.product(range(N_LABELS), repeat=length)
        if not path
        or (
            field.allowed_starts[path[0]]
            and field.allowed_ends[path[-1]]
            and all(field.allowed_moves[move] for move in itertools.pairwise(path))
        )
    ]


def _score(field: ConditionalRandomField, emissions: Tensor, path: tuple[int, ...]) -> Tensor:
    if not path:
        return torch.zeros(())
    moves = [field.transitions[move] for move in itertools.pairwise(path)]
    words = [emissions[word, label] for word, label in enumerate(path)]
    return torch.stack([field.starts[path[0]], field.ends[path[-1]], *moves, *words]).sum()


def _all_scores(field: ConditionalRandomField, emissions: Tensor) -> tuple[list[tuple[int, ...]], Tensor]:
    paths = _labellings(field, len(emissions))
    return paths, torch.stack([_score(field, emissions, path) for path in paths])


def _brute_loss(field: ConditionalRandomField, emissions: Tensor, gold: list[tuple[int, ...]]) -> Tensor:
    parts = emissions.split([len(path) for path in gold])
    return torch.stack(
        [_all_scores(field, part)[1].logsumexp(0) - _score(field, part, path) for part, path in zip(parts, gold, strict=True)]
    )


def _gold(field: ConditionalRandomField, lengths: list[int]) -> list[tuple[int, ...]]:
    labellings = [_labellings(field, length) for length in lengths]
    return [paths[7 * index % len(paths)] for index, paths in enumerate(labellings)]


def _flat(paths: list[tuple[int, ...]]) -> Tensor:
    return torch.tensor([label for path in paths for label in path], dtype=torch.long)


@pytest.mark.parametrize("constrained", [False, True])
def test_likelihood_and_its_gradients_equal_those_over_every_labelling(constrained):
    field = _field(constrained)
    gold = _gold(field, LENGTHS)
    found, expected = _emissions(LENGTHS).requires_grad_(), _emissions(LENGTHS).requires_grad_()
    loss = field.negative_log_likelihood(found, _flat(gold), LENGTHS)
    expected_loss = _brute_loss(field, expected, gold)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-5)
    assert loss[2] == loss[6] == 0

    weights = torch.linspace(0.5, 2, len(LENGTHS))
    gradients = torch.autograd.grad((loss * weights).sum(), [found, *field.parameters()])
    expected_gradients = torch.autograd.grad((expected_loss * weights).sum(), [expected, *field.parameters()])
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def _cut(field: ConditionalRandomField, begins: bool, ends: bool) -> ConditionalRandomField:
    """Return the field without scores and constraints at the cut sides."""
    starts, final = field.allowed_starts | (not begins), field.allowed_ends | (not ends)
    other = ConditionalRandomField(field.allowed_moves, starts, final)
    other.load_state_dict(field.state_dict())
    with torch.no_grad():
        other.starts *= begins
        other.ends *= ends
    return other


def test_what_is_cut_out_of_its_sentence_may_begin_and_end_with_any_label():
    field, emissions = _field(), _emissions([3] * 4)
    # No sentence may begin with 1, nor end with 2.
    gold = [(0, 1, 1), (1, 1, 0), (0, 1, 2), (1, 0, 2)]
    sides = [(True, True), (False, True), (True, False), (False, False)]
    begins_B, ends_B = torch.tensor(sides).T
    loss = field.negative_log_likelihood(emissions, _flat(gold), [3] * 4, begins_B, ends_B)
    expected = [
        _brute_loss(_cut(field, *side), part, [path]) for side, part, path in zip(sides, emissions.split(3), gold, strict=True)
    ]
    torch.testing.assert_close(loss, torch.cat(expected), rtol=1e-5, atol=1e-5)
    (whole,) = field.negative_log_likelihood(emissions[9:], _flat(gold[3:]), [3])
    assert loss.max() < 100 < whole


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_viterbi_is_the_best_of_every_labelling(constrained, seed):
    field, emissions = _field(constrained, seed), _emissions(LENGTHS, seed + 100)
    expected = []
    for part in emissions.split(LENGTHS):
        paths, scores = _all_scores(field, part)
        expected.append(list(paths[scores.argmax()]))
    assert field.viterbi(emissions, LENGTHS) == expected


@pytest.mark.parametrize("constrained", [False, True])
def test_marginals_are_the_sums_over_every_labelling(constrained):
    field, emissions = _field(constrained), _emissions(LENGTHS)
    expected = torch.zeros_like(emissions)
    for part, sums in zip(emissions.split(LENGTHS), expected.split(LENGTHS), strict=True):
        paths, scores = _all_scores(field, part)
        for path, probability in zip(paths, scores.softmax(0).tolist(), strict=True):
            for word, label in enumerate(path):
                sums[word, label] += probability
    with torch.inference_mode():
        marginals = field.marginals(emissions.clone(), LENGTHS)
    torch.testing.assert_close(marginals, expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_sequences_does_not_matter():
    field, emissions = _field(), _emissions(LENGTHS)
    gold = _gold(field, LENGTHS)
    order = [4, 2, 6, 0, 5, 3, 1]
    shuffled = torch.cat([emissions.split(LENGTHS)[index] for index in order])
    lengths, shuffled_gold = [LENGTHS[index] for index in order], [gold[index] for index in order]
    loss = field.negative_log_likelihood(emissions, _flat(gold), LENGTHS)
    shuffled_loss = field.negative_log_likelihood(shuffled, _flat(shuffled_gold), lengths)
    torch.testing.assert_close(shuffled_loss, loss[order])
    paths = field.viterbi(emissions, LENGTHS)
    assert field.viterbi(shuffled, lengths) == [paths[index] for index in order]
    marginals = field.marginals(emissions, LENGTHS).split(LENGTHS)
    torch.testing.assert_close(field.marginals(shuffled, lengths), torch.cat([marginals[index] for index in order]))


def test_what_is_forbidden_is_neither_returned_nor_learnt():
    field = _field()
    emissions = torch.zeros(12, N_LABELS)
    emissions[:, 1] = 500  # what is forbidden to start
    emissions[-1, 2] = 1000  # what is forbidden to end
    (path,) = field.viterbi(emissions, [12])
    assert path == [0] + [1] * 11

    illegal = torch.tensor([1, 2, 1, 2])
    loss = field.negative_log_likelihood(emissions[:4].requires_grad_(), illegal, [4])
    loss.sum().backward()
    assert loss.isfinite().all()
    assert field.transitions.grad is not None and field.starts.grad is not None and field.ends.grad is not None
    assert field.transitions.grad.isfinite().all()
    assert field.transitions.grad[2, 1] == field.starts.grad[1] == field.ends.grad[2] == 0
    assert set(field.state_dict()) == {"transitions", "starts", "ends"}


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_a_batch_without_words(lengths):
    field, emissions = _field(), torch.zeros(0, N_LABELS)
    labels = torch.zeros(0, dtype=torch.long)
    assert field.negative_log_likelihood(emissions, labels, lengths).tolist() == [0] * len(lengths)
    assert field.viterbi(emissions, lengths) == [[] for _ in lengths]
    assert field.marginals(emissions, lengths).shape == (0, N_LABELS)


def test_half_precision_is_computed_in_single():
    field, emissions = _field(), _emissions(LENGTHS).bfloat16()
    gold = _flat(_gold(field, LENGTHS))
    loss = field.negative_log_likelihood(emissions, gold, LENGTHS)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, field.negative_log_likelihood(emissions.float(), gold, LENGTHS), rtol=0, atol=0)
    assert field.marginals(emissions, LENGTHS).dtype == torch.float32


def test_long_sequences_keep_their_probabilities():
    field, lengths = _field(), [2000, 3]
    marginals = field.marginals(_emissions(lengths), lengths)
    torch.testing.assert_close(marginals.sum(1), torch.ones(2003), rtol=0, atol=5e-4)
