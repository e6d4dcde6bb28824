"""What callers of the Python interface give by mistake: one error that names the argument, or the item."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import bertsmith
from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.errors import BertsmithError, InputError, UsageError
from bertsmith.model.bert import Heads
from bertsmith.tasks.saved import task_values


class Frame:
    """Goes through the names of its columns, as tables of pandas do."""

    columns = ("text", "label")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.fixture(scope="module")
def given(toy_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Everything that the public interface opens."""
    path = toy_directory / "model"
    tok = bertsmith.Tokenizer.load(path)
    task = bertsmith.Classify(labels=("no", "yes"), max_length=32)
    task_path = tmp_path_factory.mktemp("arguments") / "task"
    save_model(load_model(path, Heads(task=task.head())), tok, task_path, "", task_values(task))
    return SimpleNamespace(
        path=path,
        task_path=task_path,
        tok=tok,
        model=bertsmith.load(path),
        fill=bertsmith.FillPipeline.load(path),
        task=bertsmith.TaskPipeline.load(task_path),
        vectors=bertsmith.VectorPipeline.load(path),
        features=bertsmith.FeaturePipeline.load(path),
    )


ITEMS: list[tuple[Any, str]] = [
    ("the cat", r"inputs: a list or a generator is needed, not one text: write \['the cat'\]"),
    (b"the cat", "inputs: a list or a generator is needed, not one text"),
    ({"text": ["the cat"]}, "inputs: a list or a generator is needed, not a dict"),
    ({"the cat"}, "inputs: a list or a generator is needed, not a set"),
    (Frame(), r"inputs: a Frame is a table; give one column of it, such as table\['text'\]"),
    (None, "inputs: a list or a generator is needed, not None"),
    (3, "inputs: a list or a generator is needed, not 3"),
    (["the [MASK]", None], r"inputs\[1\]: .*not None"),
    (["the [MASK]", float("nan")], r"inputs\[1\]: .*not nan"),
    (["the [MASK]", "a [MASK]", 7], r"inputs\[2\]: .*not 7"),
    ([b"the cat"], r"inputs\[0\]: .*not b'the cat'"),
    ([()], r"inputs\[0\]: .*not \(\)"),
    ([("a", "b", "c")], r"inputs\[0\]: .*not \('a', 'b', 'c'\)"),
    ([("a", None)], r"inputs\[0\]: .*not \('a', None\)"),
    ([{"text": "the cat"}], r"inputs\[0\]: .*not \{'text'"),
]


@pytest.mark.parametrize("name", ["fill", "task", "vectors", "features"])
@pytest.mark.parametrize(("inputs", "message"), ITEMS)
def test_pipelines_say_which_item_is_no_input(given: SimpleNamespace, name: str, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        getattr(given, name)(inputs)


@pytest.mark.parametrize("name", ["pack", "encode_many", "token_ids"])
@pytest.mark.parametrize(("texts", "message"), ITEMS)
def test_the_tokenizer_says_which_item_is_no_text(given: SimpleNamespace, name: str, texts: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message.replace('inputs', 'texts')}"):
        getattr(given.tok, name)(texts)


def test_what_is_taken_for_a_list_of_texts(given: SimpleNamespace) -> None:
    expected = given.vectors(["the cat", "a song"])
    for inputs in (("the cat", "a song"), np.array(["the cat", "a song"]), (text for text in ("the cat", "a song"))):
        assert np.array_equal(given.vectors(inputs), expected)
    assert given.tok.pack([["the", "cat"]]).token_ids.tolist() == given.tok.pack([("the", "cat")]).token_ids.tolist()
    assert given.tok.decode(given.tok.pack(["the cat"]).token_ids) == given.tok.decode(
        np.array(given.tok.token_ids(["the cat"])[0])
    )


Call = Callable[[SimpleNamespace], Any]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda g: g.tok.pack([]), InputError, "texts: there is none"),
        (lambda _: bertsmith.PackedBatch.from_encodings([]), InputError, "encodings: there is none"),
        (lambda g: g.tok.token_ids([("the", "cat")]), InputError, r"texts\[0\]: a text is needed here"),
        (lambda g: g.tok.encode(3), InputError, "text: a text is needed here, not 3"),
        (lambda g: g.tok.encode("a", 3), InputError, "pair: a text is needed here, not 3"),
        (lambda g: g.tok.token_ids_and_starts(None), InputError, "text: a text is needed here, not None"),
        (lambda g: g.tok.id(["the"]), InputError, "token: a text is needed here"),
        (lambda g: g.tok.normalise(3), InputError, "text: a text is needed here"),
        (lambda g: g.tok.word_ids(3), InputError, "word: a text is needed here"),
        (lambda g: g.tok.decode([2, 10**6]), InputError, r"token_ids\[1\]: there is no token 1000000"),
        (lambda g: g.tok.decode([-1]), InputError, r"token_ids\[0\]: there is no token -1"),
        (lambda g: g.tok.decode([1.5]), InputError, r"token_ids\[0\]: a token's id is needed here, not 1.5"),
        (lambda g: g.tok.decode("abc"), InputError, "token_ids: a list"),
        (lambda g: g.tok.save(None), UsageError, "path is None"),
        (lambda g: g.tok.save(g.path / "new", max_length="x"), UsageError, "max_length is 'x'"),
        (lambda _: bertsmith.Tokenizer.build("abc", lowercase=True), InputError, "vocabulary: a list"),
        (lambda _: bertsmith.Tokenizer.build([1], lowercase=True), InputError, r"vocabulary\[0\]: a text"),
        (lambda _: bertsmith.Tokenizer.load(None), UsageError, "path is None; give the path"),
        (lambda _: bertsmith.load(""), UsageError, "path is ''; give the path"),
        (lambda _: bertsmith.pipeline(3), UsageError, "path is 3; give the path"),
        (lambda _: bertsmith.pipelines(None), UsageError, "path is None"),
        (lambda _: bertsmith.TaskPipeline.load(None), UsageError, "path is None"),
        (lambda _: bertsmith.FillPipeline.load(b"x"), UsageError, "path is b'x'"),
        (lambda g: bertsmith.pipeline(g.path, device="banana"), UsageError, "device 'banana' is not one of auto, cpu, cuda"),
        (lambda g: bertsmith.pipeline(g.path, device="mps"), UsageError, "device 'mps' is not one of"),
        (lambda g: bertsmith.pipeline(g.path, device="cuda:1"), UsageError, "device 'cuda:1' .* CUDA_VISIBLE_DEVICES"),
        (lambda g: bertsmith.pipeline(g.path, device=None), UsageError, "device None is not one of"),
        (lambda g: bertsmith.pipeline(g.path, precision="fp16"), UsageError, "precision 'fp16' is not one of auto, float32"),
        (lambda g: bertsmith.pipeline(g.path, precision=["int8"]), UsageError, "precision .* is not one of"),
        (lambda g: bertsmith.pipeline(g.path, max_length=12), UsageError, "max_length is for vectors of texts"),
        (lambda g: bertsmith.pipeline(g.task_path, max_length=9999), UsageError, "max_length is for vectors of texts"),
        (lambda g: bertsmith.pipeline(g.path, task="classify"), UsageError, "task: a class of Task is needed"),
        (lambda g: bertsmith.TaskPipeline.load(g.task_path, str), UsageError, "task: a class of Task is needed"),
        (lambda g: bertsmith.VectorPipeline.load(g.path, max_length="128"), UsageError, "max_length is '128'; give a whole"),
        (lambda g: bertsmith.VectorPipeline.load(g.path, max_length=True), UsageError, "max_length is True"),
        (lambda g: bertsmith.VectorPipeline.load(g.path, max_length=0), UsageError, "max_length 0 is not between"),
        (lambda g: bertsmith.FeaturePipeline.load(g.path, max_length=9.5), UsageError, "max_length is 9.5"),
        (lambda g: bertsmith.FeaturePipeline.load(g.path, stride="a"), UsageError, "stride is 'a'"),
        (lambda g: g.fill(["[MASK]"], top="5"), UsageError, "top is '5'"),
        (lambda g: g.fill(["[MASK]"], top=0), UsageError, "top 0 is less than 1"),
        (lambda g: g.fill.check(None), InputError, "a text is needed here, not None"),
        (lambda g: g.features(["the cat"])[0].words("median"), UsageError, "words 'median' is not one of first, last, mean"),
        (lambda g: g.features(["the cat"])[0].pooled("sum"), UsageError, "pooled 'sum' is not one of cls, mean, max"),
        (lambda g: g.model(g.tok.pack(["cat " * 70])), InputError, "a text has 72 tokens, and this model reads at most 64"),
        (lambda g: bertsmith.save(g.tok, g.model, g.path / "new"), UsageError, "model: a Bert is needed"),
        (lambda g: bertsmith.save(g.model, g.path, g.path / "new"), UsageError, "tokenizer: a Tokenizer is needed"),
        (lambda g: bertsmith.save(g.model, g.tok, g.path / "new", card=3), UsageError, "card: a str is needed"),
        (lambda _: bertsmith.Classify(max_length="128"), UsageError, "Classify: max_length = '128': input should be a valid"),
        (lambda _: bertsmith.Classify(lables=("a", "b")), UsageError, "Classify: lables: unknown key; did you mean 'labels'"),
        (lambda g: bertsmith.inspect(g.path, None), InputError, "text: a text is needed here"),
        (lambda g: bertsmith.inspect(g.path, "a", 3), InputError, "pair: a text is needed here"),
        (lambda _: bertsmith.inspect(None, "a"), UsageError, "model is None"),
        (lambda g: bertsmith.inspect(g.path, "a", height="x"), UsageError, "height is 'x'"),
        (lambda g: bertsmith.inspect(g.model, "a", tokenizer="x"), UsageError, "tokenizer: a Tokenizer is needed"),
    ],
)
def test_every_argument_is_checked(given: SimpleNamespace, call: Call, error: type[BertsmithError], message: str) -> None:
    with pytest.raises(error, match=message):
        call(given)
    assert not (given.path / "new").exists()


# The tests check the types of the model's functions by themselves; who uses it has no such help.
MODEL = """
import sys, bertsmith

model, tok = bertsmith.load(sys.argv[1]), bertsmith.Tokenizer.load(sys.argv[1])
for call in (
    lambda: model(["the cat"]),
    lambda: model(tok.pack(["the cat"]), positions=[1]),
    lambda: bertsmith.FeaturePipeline.load(sys.argv[1], -1),
):
    try:
        call()
    except bertsmith.errors.BertsmithError as error:
        print(error)
"""


def test_arguments_of_a_model(given: SimpleNamespace) -> None:
    command = [sys.executable, "-c", MODEL, str(given.path)]
    batch, positions, layers = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert batch == "the model's input: a PackedBatch is needed, not ['the cat']; write model(tok.pack(texts))"
    assert positions == "positions: a Tensor is needed, not [1]; give them as torch.tensor([3, 7])"
    assert layers == "layers: a text is needed here, not -1"


@pytest.mark.parametrize("token_id", [-1, 10**6])
def test_a_token_beyond_the_vocabulary_of_the_model(given: SimpleNamespace, token_id: int) -> None:
    batch = bertsmith.PackedBatch.from_arrays(np.array([2, token_id, 3]), np.zeros(3, int), np.array([3]))
    for read in (given.model, given.fill.engine, given.vectors.engine.layers):
        with pytest.raises(InputError, match=f"there is no token {token_id} in this model's vocabulary of"):
            read(batch)


def test_what_is_opened_says_what_it_is(given: SimpleNamespace) -> None:
    assert repr(given.fill) == "<FillPipeline: 2 layers of 32; float32 on cpu>"
    assert repr(given.task) == "<TaskPipeline: task 'classify'; 2 labels ('no', 'yes'); 2 layers of 32; float32 on cpu>"
    assert repr(given.vectors) == "<VectorPipeline: at most 64 tokens; 2 layers of 32; float32 on cpu>"
    assert repr(given.features) == "<FeaturePipeline: layers 2, apart; windows of 64 tokens; 2 layers of 32; float32 on cpu>"
    assert repr(given.tok) == f"<Tokenizer: {given.tok.vocabulary_size} tokens, lower case>"
    assert repr(given.model).startswith("Bert(")
    assert torch.is_tensor(given.model(given.tok.pack(["the cat"])).hidden)
