import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import normalizers, pre_tokenizers

from bertsmith.errors import ArtifactError, InputError, UsageError
from bertsmith.files import read_manifest, verify_manifest
from bertsmith.text import vocabulary
from bertsmith.text.readers import ReaderConfig
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.text.vocabulary import VocabularyConfig, build_vocabulary, count_words, train_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def english(seed: int = 0, sentences: int = 2000) -> str:
    """Return sentences of made-up words with a natural frequency distribution."""
    random = np.random.default_rng(seed)
    stems = ["".join(random.choice(list("aeioubdglmnprst"), int(random.integers(2, 9)))) for _ in range(600)]
    ends = ["", "", "ing", "er", "ation", "s"]
    words = [f"{random.choice(stems)}{random.choice(ends)}" for _ in range(900)]
    ranks = np.minimum(random.zipf(1.3, (sentences, 9)), len(words)) - 1
    return "\n".join(" ".join(words[rank] for rank in row).capitalize() + "." for row in ranks)


def config(path: Path, text: str | None = None, **values: Any) -> VocabularyConfig:
    if text is not None:
        (path / "text.txt").write_text(text, encoding="utf-8")
    return VocabularyConfig(files=[str(path / "text.txt")], out=path / "out", **{"size": 500, **values})


def test_directory_has_exactly_the_size_asked_for(tmp_path: Path) -> None:
    settings = config(tmp_path, english())
    tokenizer = build_vocabulary(settings)
    assert tokenizer.vocabulary_size == 500
    assert tokenizer.tokens[:5] == SPECIAL
    assert len(set(tokenizer.tokens)) == 500
    assert {"##ing", "##ation"} <= set(tokenizer.tokens)
    assert Tokenizer.load(tmp_path / "out").digest == tokenizer.digest
    manifest = read_manifest(tmp_path / "out", "vocabulary")
    verify_manifest(tmp_path / "out", manifest)
    assert (manifest["size"], manifest["cased"], manifest["documents"]) == (500, False, 1)
    assert manifest["tokenizer_digest"] == tokenizer.digest
    assert manifest["words"] == 20_000  # nine words and a full stop in each sentence
    tokens = [token for ids in tokenizer.token_ids([english()]) for token in ids]
    assert tokenizer.unk_id not in tokens
    assert len(tokens) < 1.6 * 20_000


def test_same_bytes_whatever_the_hash_seed_and_thread_count(tmp_path: Path) -> None:
    text = english(1) + "\n\n" + "".join(chr(0x4E00 + code % 300) for code in range(3000)) + " é Ünï ẞ"
    config(tmp_path, text)
    code = (
        "import sys; from pathlib import Path; from bertsmith.text.vocabulary import *;"
        "build_vocabulary(VocabularyConfig(files=[sys.argv[1]], out=Path(sys.argv[2]), size=900))"
    )
    found = []
    for seed, threads in (("0", "1"), ("1", "2"), ("77", "4")):
        out = tmp_path / f"out{seed}"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "text.txt"), str(out)], check=True, env=environment)
        found.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in out.iterdir()})
    assert found[0] == found[1] == found[2]
    assert json.loads((tmp_path / "out0" / "manifest.json").read_text())["size"] == 900


def reference_counts(text: str, **switches: Any) -> Counter[str]:
    normalizer = normalizers.BertNormalizer(**switches)
    words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normalizer.normalize_str(text))
    return Counter(word for word, _ in words if len(word) <= 100)


@pytest.mark.parametrize("cased", [True, False])
@pytest.mark.parametrize("split_chinese", [True, False])
def test_word_counts_are_exact(cased: bool, split_chinese: bool, tmp_path: Path) -> None:
    nasty = (
        "Don't a\x85b c\x1cd \u200b e\u2028f Élan ÉLAN 中文字abc 한국어 カタカナ。字 \ufeff\x00x İ ß "
        + "y" * 101
        + " z" * 150
        + " "
        + "q." * 80
    )
    random = np.random.default_rng(3)
    noise = "".join(map(chr, random.choice(np.r_[0x20:0xD800, 0xE000:0x3000F], 5000)))
    text = "\n\n".join([nasty.replace("\0", ""), english(2, 50), noise, nasty.replace("\0", "")])
    counts = count_words(config(tmp_path, text, cased=cased, split_chinese=split_chinese))
    assert counts.words == reference_counts(text, lowercase=not cased, handle_chinese_chars=split_chinese)
    assert counts.error == 0


def test_memory_is_bounded_and_the_error_is_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_MOST_CHUNKS", 200)
    monkeypatch.setattr(vocabulary, "_BATCH_CHARACTERS", 500)
    text = "\n\n".join(
        f"often often sometimes unique{index} {'中' * (index % 7)}字{chr(0x4E00 + index)}" for index in range(3000)
    )
    counts = count_words(config(tmp_path, text, split_chinese=False))
    exact = reference_counts(text, handle_chinese_chars=False)
    assert len(counts.words) < 1000 < len(exact)
    assert 0 < counts.error < 100
    assert counts.words["often"] == 6000
    assert all(exact[word] - counts.error <= count <= exact[word] for word, count in counts.words.items())
    assert {word for word, count in exact.items() if count > counts.error} <= set(counts.words)


def test_counts_fed_to_the_trainer_are_bounded() -> None:
    fed = " ".join(vocabulary._repeated([("a", 100_000), ("b", 2500), ("c", 10)], 0.01)).split()
    assert Counter(fed) == {"a": 1000, "b": 25}
    assert max(len(sequence.split()) for sequence in vocabulary._repeated([("a", 100_000)], 1.0)) == 1000


def test_only_the_most_frequent_words_are_fed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_MOST_DISTINCT_WORDS_FED", 2)
    tokens = train_vocabulary(config(tmp_path, "ddd ddd ccc ccc bbb bbb bbb", size=100)).tokens
    assert {"bbb", "ccc"} <= set(tokens)
    assert "ddd" not in tokens


def test_chinese_gets_its_characters(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "".join(chr(0x4E00 + rank) * (400 - rank) for rank in range(399))
    tokenizer = train_vocabulary(config(tmp_path, text, size=300))
    assert tokenizer.tokens == [*SPECIAL, *(chr(0x4E00 + rank) for rank in range(295))]
    smaller = train_vocabulary(config(tmp_path, size=500))
    assert smaller.vocabulary_size == 404
    assert caplog.messages == ["the text supports only 404 pieces of the 500 asked for with --size"]


def test_switches_reach_the_tokenizer(tmp_path: Path) -> None:
    text = "Élan élan Elan " * 50 + english()
    assert "é" not in "".join(train_vocabulary(config(tmp_path, text)).tokens)
    kept = train_vocabulary(config(tmp_path, strip_accents=False))
    assert "élan" in kept.tokens
    assert (kept.lowercase, kept.strip_accents) == (True, False)
    cased = train_vocabulary(config(tmp_path, cased=True))
    assert {"Élan", "élan", "Elan"} <= set(cased.tokens)
    assert not cased.lowercase


def test_min_count_limits_the_merges(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "aaa bbb " * 10 + "ccc " * 3
    often = train_vocabulary(config(tmp_path, text, size=100, min_count=5))
    assert {"aaa", "bbb"} <= set(often.tokens)
    assert "ccc" not in often.tokens
    assert "ccc" in train_vocabulary(config(tmp_path, size=100, min_count=2)).tokens
    assert "supports only" in caplog.text


def test_reader_settings_are_used(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"body": "xylophone xylophone xylophone"}\n')
    settings = VocabularyConfig(
        files=[str(tmp_path / "text.jsonl")], out=tmp_path / "out", size=100, reader=ReaderConfig(field="body")
    )
    assert "xylophone" in train_vocabulary(settings).tokens


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"size": 5}, UsageError, "--size 5 is too small"),
        ({"min_count": 0}, UsageError, "--min-count 0 is out of range"),
    ],
)
def test_wrong_settings(values: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        build_vocabulary(config(tmp_path, "text", **values))
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no words"):
        build_vocabulary(config(tmp_path, "\u200b\u200b"))
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(ArtifactError, match="exists already"):
        build_vocabulary(config(tmp_path, english()))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_transformers_opens_the_directory(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = build_vocabulary(config(tmp_path, english()))
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    text = english(5, 40)
    assert reference(text)["input_ids"] == tokenizer.encode(text).token_ids
