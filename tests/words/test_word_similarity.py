"""Word similarity by layer: the files of pairs, the vectors that are compared, what is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import spearmanr

import bertsmith
from bertsmith.errors import ArtifactError, InputError
from bertsmith.words.word_similarity import CompareWordsConfig, compare_words, read_pairs

PAIRS = "cat\tdog\t9\nking\tteacher\t6\nriver\tmoon\t4\ntree\tletter\t2.5\nsong\tbread\t1\n"


@pytest.fixture
def configure(toy_directory: Path, tmp_path: Path) -> Callable[..., CompareWordsConfig]:
    (tmp_path / "pairs.txt").write_text(PAIRS, encoding="utf-8")

    def make(**changes: Any) -> CompareWordsConfig:
        values = {"model": toy_directory / "model", "pairs": (tmp_path / "pairs.txt",), "out": tmp_path / "out"}
        return CompareWordsConfig(**{**values, **changes})

    return make


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "cat\tdog\t9.5\nNew York\tcity\t4\n"),
        ("a.csv", "Word 1,Word 2,Human (mean)\ncat,dog,9.5\nNew York,city,4\n"),
        ("a.txt", "word1\tword2\tPOS\tSimLex999\tconc(w1)\ncat\tdog\tN\t9.5\t3\n\nNew York\tcity\tN\t4\t1\n"),
    ],
)
def test_pairs_as_they_are_published(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    pairs = read_pairs(tmp_path / name)
    assert pairs.words == [("cat", "dog"), ("New York", "city")] and pairs.scores == [9.5, 4.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat\tdog\t9\ncat\t3\n", ":2 is not two words and a score"),
        ("cat dog 9\ncat dog nan\n", ":2 is not two words and a score"),
        ("cat dog\n", "holds no pairs"),
        ("", "holds no pairs"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path / "a.txt")


def by_hand(config: CompareWordsConfig, vectors: dict[str, np.ndarray]) -> float:
    pairs = read_pairs(config.pairs[0])
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in ((vectors[x], vectors[y]) for x, y in pairs.words)]
    return float(spearmanr(pairs.scores, cosines).statistic)


def test_input_embeddings_and_words_alone(configure: Callable[..., CompareWordsConfig]) -> None:
    config = configure()
    (found,) = compare_words(config)
    model, tokenizer = bertsmith.load(config.model), bertsmith.Tokenizer.load(config.model)
    words = {word for pair in read_pairs(config.pairs[0]).words for word in pair}
    table = model.encoder.embeddings.token.weight.detach().numpy()
    assert found.static == pytest.approx(by_hand(config, {word: table[tokenizer.id(word)] for word in words}))
    last = {word: model.encoder(tokenizer.pack([word])).hidden[1].detach().numpy() for word in words}
    assert found.alone[-1] == pytest.approx(by_hand(config, last))
    assert len(found.alone) == model.config.n_layers + 1 and found.in_text is None and (found.n_pairs, found.of) == (5, 5)


def test_words_averaged_over_text(configure: Callable[..., CompareWordsConfig], tmp_path: Path) -> None:
    sentences = [
        "the cat sees a dog",
        "the dog finds the king",
        "a teacher asks the king",
        "the river and the moon",
        "the river",
    ]
    (tmp_path / "text.txt").write_text("\n\n".join([*sentences, "a tree with a letter"]), encoding="utf-8")
    config = configure(text=(str(tmp_path / "text.txt"),))
    (found,) = compare_words(config)
    assert (found.n_pairs, found.of) == (4, 5)  # there is no song

    model, tokenizer = bertsmith.load(config.model), bertsmith.Tokenizer.load(config.model)
    rows: dict[str, list[np.ndarray]] = {}
    for text in [*sentences, "a tree with a letter"]:
        hidden = model.encoder(tokenizer.pack([text])).hidden.detach().numpy()
        for row, word in enumerate(text.split(), 1):
            rows.setdefault(word, []).append(hidden[row])
    four = configure(pairs=(tmp_path / "four.txt",))
    (tmp_path / "four.txt").write_text("".join(PAIRS.splitlines(keepends=True)[:4]), encoding="utf-8")
    assert found.in_text is not None
    assert found.in_text[-1] == pytest.approx(by_hand(four, {word: np.mean(found, axis=0) for word, found in rows.items()}))


def test_what_is_written(configure: Callable[..., CompareWordsConfig], run_command: Any) -> None:
    config = configure()
    (found,) = compare_words(config)
    assert sorted(path.name for path in config.out.iterdir()) == ["manifest.json", "pairs.svg", "scores.json", "table.md"]
    table = (config.out / "table.md").read_text(encoding="utf-8").splitlines()
    assert table[0] == "| layer | pairs, alone |" and table[-1].endswith("Pairs compared: pairs 5 of 5.")
    assert [line.split("|")[1].strip() for line in table[2:6]] == ["input embeddings", "0 (embeddings)", "1", "2"]
    assert f"{found.alone[1]:.3f}" in table[4] and sum("**" in line for line in table) >= 1
    (scores,) = json.loads((config.out / "scores.json").read_text(encoding="utf-8"))
    assert scores["alone"] == found.alone and scores["static"] == found.static
    ElementTree.fromstring((config.out / "pairs.svg").read_text(encoding="utf-8"))
    code, out, _ = run_command("info", config.out)
    assert code == 0
    assert out.startswith("kind: word comparison\ncorrelations:\n  pairs:\n    n pairs: 5\n    of: 5\n    static: "), out


def test_what_cannot_be_compared(configure: Callable[..., CompareWordsConfig], tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat and a dog", encoding="utf-8")
    with pytest.raises(InputError, match="only 1 can be compared"):
        compare_words(configure(text=(str(tmp_path / "text.txt"),)))
    with pytest.raises(InputError, match="have the same name"):
        compare_words(configure(pairs=(tmp_path / "pairs.txt",) * 2))
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.md").touch()
    with pytest.raises(ArtifactError, match="exists already"):
        compare_words(configure())
