"""What the small files beside a vocabulary say is heeded as transformers heeds it, or refused, or said."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from bertsmith.errors import ArtifactError, BertsmithError, MismatchError
from bertsmith.text.tokenizer import Tokenizer

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "flu", "##2", "[", "]", "s", "##1"]
TEXTS = ["a flu2 [S1] b[S1]a", "FLU2 [MASK]a  <x> [GO] b", "b [s1]"]
CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
Files = dict[str, dict[str, Any]]


def token(content: str, **flags: bool) -> dict[str, Any]:
    usual = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    return {"content": content, **usual, **flags}


def typed(content: str, **flags: bool) -> dict[str, Any]:
    return {"__type": "AddedToken", **token(content, **flags)}


def write(directory: Path, files: Files, vocabulary: list[str]) -> Path:
    (directory / "vocab.txt").write_text("".join(f"{entry}\n" for entry in vocabulary), encoding="utf-8")
    for name, values in {"config.json": {"model_type": "bert"}, **files}.items():
        (directory / name).write_text(json.dumps(values), encoding="utf-8")
    return directory


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "bertsmith"]


FLU, S1 = {"flu2": 13}, {"[S1]": 14}
HEEDED: dict[str, tuple[Files, list[str], dict[str, int]]] = {
    "added tokens by name": ({ADDED: FLU | S1}, VOCABULARY, FLU | S1),
    "in another order": ({ADDED: {"[S1]": 14, "flu2": 13}}, VOCABULARY, FLU | S1),
    "special as another file says": ({ADDED: FLU | S1, MAP: {"additional_special_tokens": ["[S1]"]}}, VOCABULARY, FLU | S1),
    "an entry of the vocabulary": ({ADDED: {"flu": 7} | {"[S1]": 13}}, VOCABULARY, {"[S1]": 13}),
    "added tokens by id": (
        {CONFIG: {"added_tokens_decoder": {"14": token("[S1]"), "13": token("flu2", special=False, normalized=True)}}},
        VOCABULARY,
        FLU | S1,
    ),
    "additional ones of the map": ({MAP: {"additional_special_tokens": ["flu2", "[S1]"]}}, VOCABULARY, FLU | S1),
    "additional ones of the settings": ({CONFIG: {"additional_special_tokens": ["flu2", typed("[S1]")]}}, VOCABULARY, FLU | S1),
    "extra ones in a list": ({CONFIG: {"extra_special_tokens": ["flu2", "[S1]"]}}, VOCABULARY, FLU | S1),
    "extra ones in both files": (
        {CONFIG: {"extra_special_tokens": ["flu2"]}, MAP: {"extra_special_tokens": ["[S1]"]}},
        VOCABULARY,
        FLU | S1,
    ),
    "extra ones by name": ({CONFIG: {"extra_special_tokens": {"x": "flu2", "y": "[S1]"}}}, VOCABULARY, FLU | S1),
    "those of a model": ({CONFIG: {"model_specific_special_tokens": {"x": "flu2", "y": "[S1]"}}}, VOCABULARY, FLU | S1),
    "any key of a token": ({CONFIG: {"go_token": typed("flu2", rstrip=True), "s_token": "[S1]"}}, VOCABULARY, FLU | S1),
    "the first and the last of a text": ({CONFIG: {"bos_token": "[GO]", "eos_token": "[S1]"}}, VOCABULARY, {"[GO]": 13} | S1),
    "a mask of another name": ({MAP: {"mask_token": token("<x>", lstrip=True)}}, VOCABULARY, {"<x>": 13}),
    "a mask that takes the blank before it": ({MAP: {"mask_token": token("[MASK]", lstrip=True)}}, VOCABULARY, {"[MASK]": 4}),
    "the map over the settings": ({CONFIG: {"cls_token": "a"}, MAP: {"cls_token": "b"}}, VOCABULARY, {}),
    "the ids over the map": (
        {CONFIG: {"cls_token": "a", "added_tokens_decoder": {"13": token("flu2")}}, MAP: {"cls_token": "b"}},
        VOCABULARY,
        FLU,
    ),
    "a mask before what follows": (
        {CONFIG: {"additional_special_tokens": ["flu2"]}},
        [entry for entry in VOCABULARY if entry != "[MASK]"],
        {"[MASK]": 12, "flu2": 13},
    ),
    "a blank last line": ({ADDED: {"flu2": 14}}, [*VOCABULARY, ""], {"flu2": 14}),
    "several blank last lines": ({CONFIG: {"additional_special_tokens": ["flu2"]}}, [*VOCABULARY, "", ""], {"flu2": 14}),
}


@pytest.mark.parametrize(("files", "vocabulary", "ids"), HEEDED.values(), ids=HEEDED.keys())
def test_tokens_outside_the_vocabulary(tmp_path: Path, files: Files, vocabulary: list[str], ids: dict[str, int]) -> None:
    transformers = pytest.importorskip("transformers")
    directory = write(tmp_path, files, vocabulary)
    tokenizer = Tokenizer.load(directory)
    assert {content: tokenizer.id(content) for content in ids} == ids
    assert tokenizer.vocabulary_size == max(len([entry for entry in vocabulary if entry]), *(n + 1 for n in ids.values()), 0)
    reference = transformers.AutoTokenizer.from_pretrained(directory)
    assert [tokenizer.encode(text).token_ids for text in TEXTS] == [reference(text)["input_ids"] for text in TEXTS]
    tokenizer.save(directory / "again")
    assert Tokenizer.load(directory / "again").digest == tokenizer.digest
    again = transformers.AutoTokenizer.from_pretrained(directory / "again")
    assert [again(text)["input_ids"] for text in TEXTS] == [reference(text)["input_ids"] for text in TEXTS]


@pytest.mark.parametrize("holds", ["tokenizer.json", CONFIG])
def test_flags_of_a_token_that_several_files_have(tmp_path: Path, holds: str) -> None:
    transformers = pytest.importorskip("transformers")
    Tokenizer.build(VOCABULARY, lowercase=True).save(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    document["added_tokens"].append({"id": 13, **token("flu2", single_word=True, special=False)})
    files: Files = {"tokenizer.json": document, ADDED: FLU, CONFIG: {"do_lower_case": True}}
    if holds == CONFIG:
        files[CONFIG]["added_tokens_decoder"] = {"13": token("flu2", special=False)}
    tokenizer = Tokenizer.load(write(tmp_path, files, VOCABULARY))
    texts = ["aflu2 flu2 FLU2"]
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert [tokenizer.encode(text).token_ids for text in texts] == [reference(text)["input_ids"] for text in texts]
    assert tokenizer.encode("aflu2").token_ids == ([2, 5, 13, 3] if holds == CONFIG else [2, 1, 3])


REFUSED: dict[str, tuple[Files, str]] = {
    "words of another language": (
        {CONFIG: {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}},
        r"tokenizer_config\.json: tokenizer_class = 'BertJapaneseTokenizer' is not BERT's WordPiece",
    ),
    "sentence pieces": ({CONFIG: {"tokenizer_class": "XLMRobertaTokenizerFast"}}, "'XLMRobertaTokenizerFast' is not BERT's"),
    "bytes, in the older place": (
        {"config.json": {"tokenizer_class": "GPT2Tokenizer"}},
        r"config\.json: tokenizer_class = 'GPT2",
    ),
    "no class": ({CONFIG: {"tokenizer_class": 7}}, "tokenizer_class = 7 is not"),
    "code of its own": ({CONFIG: {"auto_map": {"AutoTokenizer": ["evil.py", None]}}}, "auto_map = .* is another tokenizer"),
    "split special tokens": ({CONFIG: {"split_special_tokens": True}}, "split_special_tokens = True is another tokenizer"),
    "another prefix": ({CONFIG: {"wordpieces_prefix": "@@"}}, "wordpieces_prefix = '@@' is another tokenizer"),
    "a gap": ({ADDED: {"flu2": 15}}, "'flu2' has the id 15 where 13 follows; number the added tokens"),
    "another id than the vocabulary's": ({ADDED: {"flu": 13}}, "'flu' has the id 13 where 7 follows"),
    "an id that is taken": ({CONFIG: {"added_tokens_decoder": {"3": token("flu2")}}}, "'flu2' has the id 3 where 13 follows"),
    "no id": ({ADDED: {"flu2": "13"}}, "'flu2' has the id '13'"),
    "ids that are none": ({CONFIG: {"added_tokens_decoder": {"x": token("flu2")}}}, "has the id 'x'"),
    "ids in a list": ({CONFIG: {"added_tokens_decoder": [1]}}, r"added_tokens_decoder = \[1\] where an object"),
    "no token": (
        {MAP: {"additional_special_tokens": [None]}},
        "extra_special_tokens|additional_special_tokens = None where a token",
    ),
    "an empty token": ({CONFIG: {"bos_token": ""}}, "bos_token = '' where a token is expected"),
    "unknown flags": ({CONFIG: {"bos_token": {"content": "a", "run": True}}}, "bos_token = .* where a token is expected"),
    "flags of another type": ({CONFIG: {"bos_token": token("a", lstrip=1)}}, "bos_token = .* where a token is expected"),  # type: ignore[arg-type]
    "no list": (
        {CONFIG: {"additional_special_tokens": "[S1]"}},
        r"additional_special_tokens = '\[S1\]' where a list of tokens",
    ),
    "a lone surrogate": ({ADDED: {"flu\ud800": 13}}, "holds a lone surrogate"),
    "more tokens than the model": (
        {ADDED: FLU, "config.json": {"vocab_size": 13}},
        "14 tokens and the model 13; they do not belong",
    ),
}


@pytest.mark.parametrize(("files", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_tokenizer_of_berts_is_refused_by_name(tmp_path: Path, files: Files, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        Tokenizer.load(write(tmp_path, files, VOCABULARY))
    assert str(tmp_path) in str(caught.value)


SAID: dict[str, tuple[Files, str]] = {
    "unknown keys": (
        {CONFIG: {"colour": 1, "shape": 2}},
        "tokenizer_config.json: bertsmith passes over what it does not know: 'colour', 'shape'",
    ),
    "unknown keys of the map": (
        {MAP: {"colour": "x"}},
        "special_tokens_map.json: bertsmith passes over what it does not know: 'colour'",
    ),
    "words that are not split": ({CONFIG: {"never_split": ["x"]}}, "never_split = ['x'] is passed over"),
    "no words": ({CONFIG: {"do_basic_tokenize": False}}, "do_basic_tokenize = False is passed over"),
    "cut on the left": ({CONFIG: {"truncation_side": "left"}}, "truncation_side = 'left' is passed over"),
    "a map that does not count": (
        {CONFIG: {"added_tokens_decoder": {}}, MAP: {"additional_special_tokens": ["[S1]"]}, ADDED: FLU},
        "special_tokens_map.json: passed over, since tokenizer_config.json says otherwise: '[S1]'",
    ),
    "tokens without rows": (
        {CONFIG: {"additional_special_tokens": ["[S1]"]}, "config.json": {"vocab_size": 13}},
        "left out, since the model has no rows for them: '[S1]'",
    ),
}


@pytest.mark.parametrize(("files", "message"), SAID.values(), ids=SAID.keys())
def test_what_does_not_count_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, files: Files, message: str) -> None:
    with caplog.at_level(logging.WARNING, "bertsmith"):
        for _ in range(2):
            Tokenizer.load(write(tmp_path, files, VOCABULARY))
    assert len([text for text in warnings(caplog) if message in text]) == 1


def test_switches_and_entries_that_contradict_each_other_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Tokenizer.build(VOCABULARY, lowercase=True).save(tmp_path)
    write(tmp_path, {CONFIG: {"do_lower_case": False}}, [*VOCABULARY[:-1], "t"])
    assert Tokenizer.load(tmp_path).encode("A a").token_ids == [2, 1, 5, 3]
    assert [text.replace(str(tmp_path), "") for text in warnings(caplog)] == [
        "/tokenizer.json holds, though vocab.txt has 1 entries that it has not there, such as 't'",
        "/tokenizer.json means lowercase = True; False holds, which tokenizer_config.json says",
    ]


def test_lower_casing_that_something_speaks_against_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cased = [*VOCABULARY, "Paris", "##A"]
    Tokenizer.load(write(tmp_path, {"config.json": {"do_lower_case": False}}, cased))
    from_config, from_entries = warnings(caplog)
    assert from_config == f"{tmp_path / 'config.json'}: do_lower_case does not count there; text is lower-cased"
    assert from_entries.startswith(f"{tmp_path}: text is lower-cased, though 2 entries of the vocabulary have capitals; if the")
    assert from_entries.endswith('write {"do_lower_case": false} into tokenizer_config.json')
    caplog.clear()
    assert not Tokenizer.load(write(tmp_path, {CONFIG: {"do_lower_case": False}, "config.json": {}}, cased)).lowercase
    assert not warnings(caplog)


def test_usual_directories_have_nothing_to_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    transformers = pytest.importorskip("transformers")
    write(tmp_path, {}, VOCABULARY)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.add_tokens(["flu2"])
    tokenizer.save_pretrained(tmp_path / "theirs")
    assert Tokenizer.load(tmp_path / "theirs").encode("flu2").token_ids == [2, 13, 3]
    assert not warnings(caplog)


@pytest.mark.parametrize("name", ["spiece.model", "vocab.json"])
def test_files_of_other_tokenizers_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ArtifactError, match=f"holds no tokenizer.*it has {name}.*not BERT's WordPiece"):
        Tokenizer.load(tmp_path)


def test_a_blank_last_line_is_no_token(tmp_path: Path) -> None:
    directory = write(tmp_path, {"config.json": {"vocab_size": len(VOCABULARY)}}, [*VOCABULARY, "", ""])
    assert Tokenizer.load(directory).vocabulary_size == len(VOCABULARY)
    with pytest.raises(MismatchError):
        Tokenizer.load(write(directory, {"config.json": {"vocab_size": len(VOCABULARY)}}, [*VOCABULARY, "", "c"]))


@pytest.mark.parametrize("seed", range(40))
def test_wild_settings_end_in_a_tokenizer_or_an_error(tmp_path: Path, seed: int) -> None:
    import random

    draw = random.Random(seed)
    values: list[Any] = [
        None,
        True,
        0,
        -1,
        2**70,
        1.5,
        "",
        "a",
        "\ud800",
        "\0",
        [],
        ["a"],
        [[]],
        {},
        {"content": "a"},
        {"a": 1},
        {"3": {}},
    ]
    keys = ["tokenizer_class", "do_lower_case", "added_tokens_decoder", "extra_special_tokens", "additional_special_tokens"]
    keys += ["mask_token", "cls_token", "x_token", "model_specific_special_tokens", "auto_map", "vocab_size", "never_split"]
    files = {name: {key: draw.choice(values) for key in draw.sample(keys, 3)} for name in (CONFIG, MAP, ADDED, "config.json")}
    for name in draw.sample(sorted(files), 2):
        try:
            Tokenizer.load(write(tmp_path, {name: files[name]}, VOCABULARY)).encode("a [MASK]")
        except BertsmithError as error:
            assert str(error)
