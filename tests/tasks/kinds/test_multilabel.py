"""Any of several labels a text, none of them too: labels, thresholds, the loss, predictions and their scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bertsmith.batches.windows import Window
from bertsmith.errors import DivergedError, InputError, UsageError
from bertsmith.tasks.files.texts import Columns, TextExample
from bertsmith.tasks.kinds.multilabel import Labelled, Multilabel
from bertsmith.tasks.task import Sample, SampleBatch

HEAD = nn.Identity()


def examples(*labels: Any) -> list[TextExample]:
    return [
        TextExample(f"text {number}", None, label, str(number), f"a.tsv:{number + 2}") for number, label in enumerate(labels)
    ]


def predictions(task: Multilabel, *probabilities: list[float]) -> list[Labelled]:
    rows = [np.array([[np.log(one / (1 - one)) for one in row]], np.float32) for row in probabilities]
    return task.decode(examples(*[""] * len(rows)), [], [[row] for row in rows], HEAD)


def test_rows_without_a_label(tmp_path: Path) -> None:
    table, lines = tmp_path / "a.tsv", tmp_path / "a.jsonl"
    table.write_text("text\tlabels\none\tb, a\ntwo\t\nthree\ta\n", encoding="utf-8")
    lines.write_text('{"text": "one", "labels": ["b", "a"]}\n{"text": "two", "labels": []}\n', encoding="utf-8")
    for path in (table, lines):
        read = list(Multilabel().read(path, labelled=True))
        task = Multilabel().fitted(read)
        assert task.labels == ("a", "b")
        assert [task.target(example).tolist() for example in read[:2]] == [[1, 1], [0, 0]]
    with pytest.raises(InputError, match="none of 2 training examples has a label"):
        Multilabel().fitted(examples("", []))


def test_labels_and_separators() -> None:
    assert Multilabel().fitted(examples("10,9", "2")).labels == ("2", "9", "10")
    assert Multilabel(separator="|").fitted(examples("a,b|c")).labels == ("a,b", "c")
    task = Multilabel(labels=("c", "a"))
    assert task.fitted(examples("a,c")).labels == ("c", "a")
    with pytest.raises(InputError, match=r"^a\.tsv:3: the label 'd' is not among those learnt in training: 'c', 'a'$"):
        task.check(examples("a", "a,d"))
    with pytest.raises(UsageError, match="--thresholds has 1 values for 2 labels"):
        Multilabel(thresholds=(0.5,)).fitted(examples("a,b"))


@pytest.mark.parametrize("rows", [([0, 1, 0], [1.0, 0.0, 1.0]), ([False, True, False], [True, False, True])])
def test_rows_with_a_one_or_a_zero_for_each_label(tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: Any) -> None:
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.csv"
    lines.write_text("".join(json.dumps({"text": "t", "labels": row}) + "\n" for row in rows), encoding="utf-8")
    table.write_text("text,labels\n" + "".join(f'"t","{row}"\n' for row in rows), encoding="utf-8")
    for path in (lines, table):
        read = list(Multilabel().read(path, labelled=True))
        task = Multilabel().fitted(read)
        assert (task.labels, task.multi_hot) == (("0", "1", "2"), True)
        assert [task.target(example).tolist() for example in read] == [[0, 1, 0], [1, 0, 1]]
        named = Multilabel(labels=("x", "y", "z")).fitted(read)
        assert [task.target(example).tolist() for example in read] == [[0, 1, 0], [1, 0, 1]]
        assert named.review(read, predictions(named, [0.9, 0.1, 0.1], [0.9, 0.1, 0.9])).mistakes[0].expected == "y"
        # One of another tool, which does not say so.
        assert Multilabel(labels=("x", "y", "z")).target(read[1]).tolist() == [1, 0, 1]
    assert "rows have a 1 or a 0 for each of 3 labels: 0, 1, 2 (--labels)" in caplog.text


def test_a_column_of_ones_and_zeros_for_each_label(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,rude,threat,label\nt,1,0,x\nu,0.0,False,y\nv,True,1,z\n", encoding="utf-8")
    task = Multilabel(columns=Columns(label="threat, rude"))
    read = list(task.read(path, labelled=True))
    fitted = task.fitted(read)
    assert (fitted.labels, fitted.multi_hot) == (("rude", "threat"), False)
    assert [fitted.target(example).tolist() for example in read] == [[1, 0], [0, 0], [1, 1]]
    path.write_text("text,rude,threat\nt,1,yes\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.csv:2: the column 'threat' holds 'yes' where a 1 or a 0 is expected; correct it"):
        list(task.read(path, labelled=True))
    with pytest.raises(InputError, match=r"a\.csv has no column 'threat,kind'; .*; choose one with --label"):
        list(Multilabel(columns=Columns(label="threat,kind")).read(path, labelled=True))


def test_what_is_no_multi_hot_form() -> None:
    assert Multilabel().fitted(examples(["0"], ["1"], ["0", "1"])).labels == ("0", "1")
    assert Multilabel(multi_hot=False).fitted(examples(["0", "1"], ["1", "0"])).labels == ("0", "1")
    with pytest.raises(InputError, match=r"^a\.tsv:3: the labels are 0, 1, 0, as if a 1 or a 0 stood for each"):
        Multilabel().fitted(examples(["1"], ["0", "1", "0"]))
    task = Multilabel().fitted(examples(["0", "1", "0"], ["1", "0", "0"]))
    for wrong in (["0", "1"], ["0", "1", "2"], []):
        with pytest.raises(InputError, match=r"^a\.tsv:2: the labels are .*, where a 1 or a 0 is expected for each"):
            task.check(examples(wrong))


def test_loss_and_log_probabilities() -> None:
    task = Multilabel(labels=("a", "b", "c"))
    window = Window(np.array([2, 7, 3]), np.zeros(3, np.int64), 0, 1, 1, (0, 1))
    samples = [Sample((window,), task.target(example)) for example in examples("a,c", "")]
    logits_BC = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    has_BC = logits_BC.sigmoid()
    expected = -(has_BC[0, 0].log() + (1 - has_BC[0, 1]).log() + has_BC[0, 2].log() + (1 - has_BC[1]).log().sum()) / 3
    torch.testing.assert_close(task.loss(logits_BC, SampleBatch.collate(samples), HEAD), expected)
    apart = [task.loss(logits_BC[[row]], SampleBatch.collate([samples[row]]), HEAD) for row in (1, 0)]
    torch.testing.assert_close(sum(apart), expected)
    found = task.log_probabilities(logits_BC, SampleBatch.collate(samples))
    torch.testing.assert_close(found.exp().sum(0), torch.ones(2, 3))


def test_predictions() -> None:
    task = Multilabel(labels=("a", "b"), thresholds=(0.2, 0.9))
    both, none = predictions(task, [0.3, 0.95], [0.1, 0.8])
    assert (both.labels, str(both), none.labels, str(none)) == (("a", "b"), "a,b", (), "")
    assert none.probabilities == pytest.approx({"a": 0.1, "b": 0.8}, rel=1e-6)
    assert predictions(Multilabel(labels=("a", "b")), [0.49, 0.51])[0].labels == ("b",)
    (far,) = task.decode(examples(""), [], [[np.array([[-2000.0, 2000.0]], np.float32)]], HEAD)
    assert far.probabilities == {"a": 0.0, "b": 1.0}


def test_thresholds_are_tuned_and_applied() -> None:
    task = Multilabel(labels=("a", "b"))
    gold = examples("a", "", "a,b", "b")
    found = predictions(task, [0.3, 0.6], [0.1, 0.7], [0.4, 0.9], [0.2, 0.8])
    before, tuned = task.score(gold, found), task.tuned(gold, found)
    assert tuned.thresholds == pytest.approx((0.25, 0.75), rel=1e-5)
    assert tuned.score(gold, found)["micro_f1"] == tuned.score(gold, found)["exact_match"] == 1.0
    assert before["exact_match"] < 1.0
    assert tuned.tuned(gold, found) is tuned


def test_outcomes_of_two_models_keep_their_own_thresholds() -> None:
    gold, strict = examples("a", "b"), Multilabel(labels=("a", "b"), thresholds=(0.7, 0.7))
    found = [strict.apply(one) for one in predictions(strict, [0.8, 0.4], [0.4, 0.8])]
    outcomes = strict.outcomes(gold, found)
    assert Multilabel(labels=("a", "b"), thresholds=(0.3, 0.3)).scores(outcomes)["exact_match"] == 1.0


def test_scores_and_review() -> None:
    task = Multilabel(labels=("a", "b"))
    gold = examples("a", "a,b", "")
    found = predictions(task, [0.9, 0.8], [0.7, 0.1], [0.2, 0.2])
    assert task.score(gold, found)["micro_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert task.score(gold, found)["exact_match"] == pytest.approx(1 / 3)
    review = task.review(gold, found)
    assert [(mistake.text, mistake.expected, mistake.predicted) for mistake in review.mistakes] == [
        ("text 1", "a, b", "a"),
        ("text 0", "a", "a, b"),
    ]
    assert [row[0] for row in review.table] == ["label", "a", "b"]
    assert [row[2] for row in review.table[1:]] == [2, 1]
    assert review.used == {"a": (2, 2), "b": (1, 1)}


def test_a_model_that_says_nan_is_refused() -> None:
    task = Multilabel(labels=("a", "b"))
    found = task.decode(examples("a"), [], [[np.array([[0.0, np.nan]], np.float32)]], HEAD)
    with pytest.raises(DivergedError, match="NaN"):
        task.score(examples("a"), found)


def test_labels_that_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("id,comment_text,toxic,threat\n7,go away,1,0\n8,hello,0,0\n9,beware,1,1\n", encoding="utf-8")
    task = Multilabel(labels=("threat", "toxic"))
    examples = list(task.read(path, labelled=True))
    assert [(example.id, example.text, example.label) for example in examples] == [
        ("7", "go away", ["toxic"]),
        ("8", "hello", []),
        ("9", "beware", ["threat", "toxic"]),
    ]
    assert task.fitted(examples).labels == ("threat", "toxic")
    path.write_text("text,toxic,threat\ngo away,2,0\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.csv:2: the column 'toxic' holds '2' where a 1 or a 0 is expected"):
        list(task.read(path, labelled=True))
