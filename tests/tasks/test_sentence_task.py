"""What tasks on texts and pairs share: nothing is cut in silence, and long texts are judged by the mean over windows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bertsmith.artifacts.directory import save_model
from bertsmith.batches.windows import Window
from bertsmith.errors import InputError
from bertsmith.model.bert import Heads
from bertsmith.model.heads.pooling import SentenceVectors
from bertsmith.model.heads.sequence import SequenceScores
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.tasks.sentence_task import PairCutter
from bertsmith.text.tokenizer import Tokenizer

CPU = torch.device("cpu")


@pytest.fixture
def cutter(letter_tokenizer: Tokenizer) -> PairCutter:
    return PairCutter(letter_tokenizer, max_length=13, stride=3)


def parts(window: Window, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Return the two texts of a window, whose frame of special tokens and segments is checked."""
    first, second = (window.token_ids[window.segment_ids == segment].tolist() for segment in (0, 1))
    assert first[0] == tokenizer.cls_id
    assert first[-1] == second[-1] == tokenizer.sep_id
    assert (np.diff(window.segment_ids) >= 0).all()
    return first[1:-1], second[:-1]


def union(windows: list[list[int]]) -> list[int]:
    return sorted({token_id for window in windows for token_id in window})


FIRST, SECOND = list(range(10, 60)), list(range(60, 110))


@pytest.mark.parametrize(("n_first", "n_second"), [(5, 40), (0, 40), (4, 6), (5, 5), (1, 9)])
@pytest.mark.parametrize("is_swapped", [False, True])
def test_the_longer_text_slides_past_the_whole_other(
    cutter: PairCutter,
    letter_tokenizer: Tokenizer,
    caplog: pytest.LogCaptureFixture,
    n_first: int,
    n_second: int,
    is_swapped: bool,
) -> None:
    pair = FIRST[:n_first], SECOND[:n_second]
    windows = cutter.windows(*(pair[::-1] if is_swapped else pair))
    found = [parts(window, letter_tokenizer)[:: -1 if is_swapped else 1] for window in windows]
    assert all(len(window.token_ids) <= 13 for window in windows)
    assert all(shorter == pair[0] for shorter, _ in found)
    assert union([longer for _, longer in found]) == pair[1]
    assert (len(windows) == 1) == (n_first + n_second <= 10)
    cutter.report()
    assert not caplog.records


@pytest.mark.parametrize(("n_first", "n_second"), [(6, 40), (50, 6), (50, 50), (6, 6)])
def test_of_two_long_texts_the_shorter_is_cut_and_counted_once(
    cutter: PairCutter, letter_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture, n_first: int, n_second: int
) -> None:
    windows = cutter.windows(FIRST[:n_first], SECOND[:n_second])
    firsts, seconds = zip(*(parts(window, letter_tokenizer) for window in windows), strict=True)
    assert all(len(window.token_ids) <= 13 for window in windows)
    if n_first <= n_second:
        assert all(first == FIRST[:5] for first in firsts)
        assert union(list(seconds)) == SECOND[:n_second]
    else:
        assert all(second == SECOND[:5] for second in seconds)
        assert union(list(firsts)) == FIRST[:n_first]
    cutter.report()
    assert caplog.messages == ["1 pair(s) of texts are too long for --max-length 13, and were cut: part of them was not read"]
    cutter.report()
    assert len(caplog.messages) == 1


def test_a_single_text_is_read_whole(cutter: PairCutter, letter_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    windows = cutter.windows(FIRST, None)
    assert union([window.token_ids[1:-1].tolist() for window in windows]) == FIRST
    assert all(not window.segment_ids.any() and len(window.token_ids) <= 13 for window in windows)
    assert [window.token_ids.tolist() for window in cutter.windows([], None)] == [
        [letter_tokenizer.cls_id, letter_tokenizer.sep_id]
    ]
    cutter.report()
    assert not caplog.records


@pytest.mark.parametrize(("n_first", "n_second", "n_cut"), [(5, 5, 0), (2, 9, 1), (9, 2, 1), (6, 7, 1), (50, 50, 1)])
def test_one_sequence_of_a_pair_is_counted_once_when_cut(
    cutter: PairCutter, letter_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture, n_first: int, n_second: int, n_cut: int
) -> None:
    first, second = parts(cutter.first_window(FIRST[:n_first], SECOND[:n_second]), letter_tokenizer)
    assert first == FIRST[: len(first)]
    assert second == SECOND[: len(second)]
    assert len(first) + len(second) == min(10, n_first + n_second)
    cutter.report()
    assert [message.split()[0] for message in caplog.messages] == ["1"] * n_cut


def test_every_window_of_an_example_has_its_target(letter_tokenizer: Tokenizer) -> None:
    task = Classify(max_length=8, stride=6, labels=("no", "yes"))
    examples = [
        TextExample("abcdefghijk", None, "yes", "0", ""),
        TextExample("ab", "c", "no", "1", ""),
    ]
    labelled = task.samples(examples, letter_tokenizer, labelled=True)
    assert [[sample.target for sample in samples] for samples in labelled] == [[1, 1], [0]]
    tokens = letter_tokenizer.tokens
    (window,) = labelled[1][0].windows
    assert [tokens[token_id] for token_id in window.token_ids] == ["[CLS]", "a", "##b", "[SEP]", "c", "[SEP]"]
    unlabelled = task.samples(examples, letter_tokenizer, labelled=False)
    assert [[sample.target for sample in samples] for samples in unlabelled] == [[None, None], [None]]


def test_the_judgement_is_the_mean_over_windows() -> None:
    logits = [[np.array([[1.0]], np.float32), np.array([[3.0]], np.float32)], [np.array([[5.0]], np.float32)]]
    assert [found.score for found in Regress().decode([], [], logits, nn.Identity())] == [2.0, 5.0]


def test_what_pipelines_take() -> None:
    task = Regress()
    assert task.example("a") == TextExample("a", None, None, "", "")
    assert task.example(("a", "b")) == task.example(["a", "b"]) == TextExample("a", "b", None, "", "")
    for wrong in (3, ("a",), ("a", None), None):
        with pytest.raises(InputError, match="regress takes texts and pairs of texts, not"):
            task.example(wrong)


def test_glue_submissions() -> None:
    form = Classify(labels=("no", "yes")).submission()
    task = Classify(labels=("no", "yes"))
    example = TextExample("a", None, None, "7", "")
    (found,) = task.decode([example], [], [[np.array([[0.0, 1.0]], np.float32)]], head=None)  # type: ignore[arg-type]
    assert form.before + form.line(example, found) == "index\tprediction\n7\tyes\n"
    (number,) = Regress().decode([example], [], [[np.array([[2.5]], np.float32)]], head=None)  # type: ignore[arg-type]
    assert Regress().submission().line(example, number) == "7\t2.500\n"


@pytest.mark.parametrize(
    ("asked", "pooled", "expected"),
    [("auto", "max", "max"), ("auto", None, "auto"), ("cls", "max", "cls"), ("attention", None, "attention")],
)
def test_sequences_are_pooled_as_the_directory_to_start_from_says_unless_told_otherwise(
    tmp_path: Path, random_model: Any, tiny_tokenizer: Tokenizer, asked: Any, pooled: Any, expected: str
) -> None:
    heads = Heads() if pooled is None else Heads(task=SentenceVectors(pooled))
    save_model(random_model(heads), tiny_tokenizer, tmp_path / "model")
    task, train = Classify(labels=("a", "b"), pooling=asked).prepared([], [], tmp_path / "model", tiny_tokenizer, CPU)
    assert (task.pooling, train) == (expected, [])
    assert task.head() == SequenceScores(("a", "b"), pooling="cls" if expected == "auto" else expected)


def test_a_directory_with_unknown_modules_is_scored_by_its_first_token(
    tmp_path: Path, random_model: Any, tiny_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    save_model(random_model(Heads()), tiny_tokenizer, tmp_path / "model")
    (tmp_path / "model" / "modules.json").write_text("[]")
    task, _ = Classify().prepared([], [], tmp_path / "model", tiny_tokenizer, CPU)
    assert task.pooling == "auto"
    assert "sequences are scored by [CLS] (--pooling)" in caplog.text
