"""Multiple choice: files, sequences, the loss over any number of choices, predictions and their scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bertsmith.errors import DivergedError, InputError
from bertsmith.tasks.kinds.choose import ChoiceExample, Choose
from bertsmith.tasks.task import SampleBatch
from bertsmith.text.tokenizer import Tokenizer

HEAD = nn.Identity()
SWAG = """,video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label
0,a,3416,x,He sat.,He,gold,ate.,slept.,ran.,sang.,2
1,b,3417,x,She sat.,She,gold,ate.,slept.,ran.,sang.,0
"""


def examples() -> list[ChoiceExample]:
    return [
        ChoiceExample("abc", ("a", "b"), 1, "0", "a.jsonl:1"),
        ChoiceExample("d", ("c", "de", "f", "g"), 0, "1", "a.jsonl:2"),
        ChoiceExample("e", ("x", "yz", "t"), 2, "2", "a.jsonl:3"),
    ]


def read(path: Path, content: str, labelled: bool = True) -> list[ChoiceExample]:
    path.write_text(content, encoding="utf-8")
    return list(Choose().read(path, labelled=labelled))


def test_swag(tmp_path: Path) -> None:
    first, second = read(tmp_path / "a.csv", SWAG)
    choices = ("He ate.", "He slept.", "He ran.", "He sang.")
    assert first == ChoiceExample("He sat.", choices, 2, "3416", f"{tmp_path}/a.csv:2")
    assert second.label == 0
    assert [one.label for one in read(tmp_path / "a.csv", SWAG, labelled=False)] == [None, None]


def test_swag_with_any_number_of_endings(tmp_path: Path) -> None:
    names = ",".join(f"ending{number}" for number in range(12))
    rows = [",".join(f"e{number}" for number in range(12)) + ",10", "a,b" + "," * 10 + ",1"]
    many, few = read(tmp_path / "a.csv", f"sent1,{names},label\n" + "".join(f"He sat.,{row}\n" for row in rows))
    assert many.choices == tuple(f"e{number}" for number in range(12))
    assert many.choices[many.label or 0] == "e10"
    assert few.choices == ("a", "b")
    row = {"sent1": "p", "sent2": None, "ending0": "a", "ending1": None, "ending2": "c", "label": 0}
    with pytest.raises(InputError, match="a question has a text under"):
        read(tmp_path / "a.jsonl", json.dumps(row))


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "choices": ["a", "b", "c"], "label": 1},
        {"id": "x", "question": "q", "choices": ["a", "b"], "answer": "0"},
    ]
    found = read(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [(one.prompt, one.choices, one.label, one.id) for one in found] == [
        ("p", ("a", "b", "c"), 1, "0"),
        ("q", ("a", "b"), 0, "x"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 2}, r"a\.jsonl:1: the label 2 is no number of a choice: 0 to 1"),
        ({"label": "-1"}, r"a\.jsonl:1: the label '-1' is no number of a choice"),
        ({"label": None}, r"a\.jsonl:1 has no label; write the number of the right choice, from 0, under label"),
        ({"choices": ["a"]}, r"a\.jsonl:1 has 1 choice\(s\); a question needs two or more"),
        ({"choices": "ab"}, r"a\.jsonl:1: a question has a text under prompt or .*; this has prompt, choices, label"),
        ({"choices": ["a", 1]}, r"a\.jsonl:1: a question has a text under"),
        ({"prompt": None}, r"a\.jsonl:1: a question has a text under"),
    ],
)
def test_rows_that_are_no_question(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.jsonl", json.dumps({"prompt": "p", "choices": ["a", "b"], "label": 1} | changes))


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
