"""Multiple choice: files, sequences, the loss over any number of choices, predictions and their scores."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bertsmith.errors import DivergedError, InputError
from bertsmith.tasks.files.choices import ChoiceColumns, ChoiceExample
from bertsmith.tasks.kinds.choose import Choose
from bertsmith.tasks.task import SampleBatch
from bertsmith.text.tokenizer import Tokenizer

HEAD = nn.Identity()


def examples() -> list[ChoiceExample]:
    return [
        ChoiceExample("abc", ("a", "b"), 1, "0", "a.jsonl:1"),
        ChoiceExample("d", ("c", "de", "f", "g"), 0, "1", "a.jsonl:2"),
        ChoiceExample("e", ("x", "yz", "t"), 2, "2", "a.jsonl:3"),
    ]


def test_questions_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("stem;a;b;right\np;x;y;B\n", encoding="utf-8")
    task = Choose(columns=ChoiceColumns(prompt="stem", choices="a,b", label="right"))
    (found,) = task.read(tmp_path / "a.csv", labelled=True)
    assert found == ChoiceExample("p", ("x", "y"), 1, "0", f"{tmp_path / 'a.csv'}:2")


def test_what_pipelines_take() -> None:
    assert Choose().example(("p", ["a", "b"])) == ChoiceExample("p", ("a", "b"), None, "", "")
    for wrong in ("p", ("p", ["a"]), ("p", ["a", 1]), ("p", "ab")):
        with pytest.raises(InputError, match="choose takes pairs of a prompt and two choices or more"):
            Choose().example(wrong)


def test_every_choice_is_a_sequence_with_the_prompt(letter_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    samples = Choose().samples(examples(), letter_tokenizer, labelled=True)
    assert [[len(sample.windows) for sample in own] for own in samples] == [[2], [4], [3]]
    assert [sample.target for (sample,) in samples] == [1, 0, 2]
    window = samples[1][0].windows[1]
    assert [letter_tokenizer.tokens[one] for one in window.token_ids] == ["[CLS]", "d", "[SEP]", "d", "##e", "[SEP]"]
    assert window.segment_ids.tolist() == [0, 0, 0, 1, 1, 1]
    assert not caplog.records


def test_long_questions_are_cut_and_counted(letter_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    long = ChoiceExample("abcdefghijklmnop", ("a", "bcdefghijklmn"), 0, "", "")
    ((sample,),) = Choose(max_length=12, stride=4).samples([long], letter_tokenizer, labelled=False)
    assert [len(window.token_ids) for window in sample.windows] == [12, 12]
    assert caplog.messages[0].startswith("2 pair(s) of texts are too long for --max-length 12")


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_with_varying_numbers_of_choices(letter_tokenizer: Tokenizer, smoothing: float) -> None:
    task = Choose(label_smoothing=smoothing)
    samples = [sample for (sample,) in task.samples(examples(), letter_tokenizer, labelled=True)]
    scores = [torch.randn(len(sample.windows), 1) for sample in samples]
    expected = sum(
        F.cross_entropy(own.T, torch.tensor([sample.target]), label_smoothing=smoothing)
        for own, sample in zip(scores, samples, strict=True)
    )
    for order in ([0, 1, 2], [2, 0, 1]):
        batch = SampleBatch.collate([samples[place] for place in order])
        logits_B1 = torch.cat([scores[place] for place in order])
        torch.testing.assert_close(task.loss(logits_B1, batch, HEAD), expected)
        sizes = [len(sample.windows) for sample in batch.samples]
        probabilities = task.log_probabilities(logits_B1, batch).exp().split(sizes)
        torch.testing.assert_close(torch.stack([one.sum() for one in probabilities]), torch.ones(3))


def test_predictions_scores_and_review() -> None:
    task, gold = Choose(), examples()
    logits = [[np.array(scores, np.float32)[:, None]] for scores in ([0, 1], [0, np.log(3), 0, 0], [3, 0, 0])]
    found = task.decode(gold, [], logits, HEAD)
    assert [(one.choice, one.number, str(one)) for one in found] == [("b", 1, "1"), ("de", 1, "1"), ("x", 0, "0")]
    assert found[1].probabilities == pytest.approx((1 / 6, 1 / 2, 1 / 6, 1 / 6))
    assert task.score(gold, found) == {"accuracy": pytest.approx(1 / 3)}
    assert [(one.text, one.expected, one.predicted) for one in task.review(gold, found).mistakes] == [
        ("e", "t", "x (91%)"),
        ("d", "c", "de (50%)"),
    ]
    form = task.submission()
    lines = form.before + "".join(form.line(example, one) for example, one in zip(gold, found, strict=True))
    assert lines == "id,label\n0,1\n1,1\n2,0\n"


def test_a_model_that_says_nan_is_refused() -> None:
    found = Choose().decode(examples()[:1], [], [[np.array([[0.0], [np.nan]], np.float32)]], HEAD)
    with pytest.raises(DivergedError, match="NaN"):
        Choose().score(examples()[:1], found)
