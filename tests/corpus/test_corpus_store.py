import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bertsmith.corpus.build import CorpusConfig, build_corpus
from bertsmith.corpus.store import Corpus, describe
from bertsmith.errors import ArtifactError, DamagedError, MismatchError
from bertsmith.files import read_sealed
from bertsmith.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, vocabulary: list[str]) -> Path:
    directory = tmp_path_factory.mktemp("built")
    Tokenizer.build(vocabulary, lowercase=True).save(directory / "tokenizer")
    source = directory / "source.txt"
    source.write_text("The cats sat.\nOn the mat.\n\nUnwanted cats.\n")
    out = directory / "corpus"
    build_corpus(CorpusConfig(files=[str(source)], tokenizer=directory / "tokenizer", out=out, workers=1, sentences="lines"))
    return out


@pytest.fixture
def corpus(built: Path, tmp_path: Path) -> Corpus:
    """A corpus of its own for each test to damage."""
    return Corpus.open(shutil.copytree(built, tmp_path / "corpus"))


ARRAYS = ["tokens.npy", "word_starts.npy", "sentence_offsets.npy", "document_offsets.npy"]
FILES = [*ARRAYS, "tokenizer/vocab.txt", "tokenizer/tokenizer.json"]


def test_open_finds_what_was_built(corpus: Corpus) -> None:
    again = Corpus.open(str(corpus.path))
    assert (again.n_documents, again.n_sentences) == (2, 3)
    assert again.document_offsets.tolist() == [0, 2, 3]
    assert again.sentence_offsets[-1] == again.n_tokens == len(again.tokens)
    assert again.vocabulary_size == again.tokenizer().vocabulary_size
    assert again.tokenizer_digest == again.tokenizer().digest
    assert isinstance(again.tokens, np.memmap)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(corpus: Corpus, name: str) -> None:
    path = corpus.path / name
    contents = bytearray(path.read_bytes())
    contents[-1] ^= 1
    path.write_bytes(contents)
    with pytest.raises(DamagedError, match=f"{name} is altered"):
        Corpus.open(corpus.path)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("length", [0, 20, -1])
@pytest.mark.parametrize("name", ARRAYS)
def test_a_truncated_array_is_found(corpus: Corpus, name: str, length: int, verify: bool) -> None:
    path = corpus.path / name
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedError, match=name):
        Corpus.open(corpus.path, verify=verify)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_array_is_found(corpus: Corpus, name: str) -> None:
    (corpus.path / name).unlink()
    with pytest.raises(DamagedError, match=f"{name} is missing"):
        Corpus.open(corpus.path, verify=False)


def test_an_array_of_pickled_objects_is_refused(corpus: Corpus) -> None:
    np.save(corpus.path / "tokens.npy", np.array([print] * corpus.n_tokens, dtype=object), allow_pickle=True)
    with pytest.raises(DamagedError, match=r"tokens\.npy"):
        Corpus.open(corpus.path, verify=False)


@pytest.mark.parametrize("name", ["n_tokens", "n_sentences", "n_documents", "vocabulary_size"])
@pytest.mark.parametrize("value", [None, "3", 0, 10**6])
def test_a_manifest_that_disagrees_with_the_arrays_is_refused(corpus: Corpus, name: str, value: object) -> None:
    path = corpus.path / "manifest.json"
    path.write_text(json.dumps(read_sealed(path) | {name: value}))
    with pytest.raises(DamagedError, match=rf"{name}|\.npy"):
        Corpus.open(corpus.path, verify=False)


def test_offsets_that_end_elsewhere_are_refused(corpus: Corpus) -> None:
    offsets = np.load(corpus.path / "sentence_offsets.npy")
    offsets[-1] += 1
    np.save(corpus.path / "sentence_offsets.npy", offsets)
    with pytest.raises(DamagedError, match=r"sentence_offsets\.npy runs from 0 to"):
        Corpus.open(corpus.path, verify=False)


def test_another_tokenizer_in_the_directory_is_refused(corpus: Corpus) -> None:
    own = corpus.tokenizer()
    Tokenizer.build([*own.tokens, "more"], lowercase=True).save(corpus.path / "tokenizer")
    with pytest.raises(MismatchError, match="build the corpus again"):
        Corpus.open(corpus.path, verify=False).tokenizer()


def test_other_directories_are_no_corpus(tmp_path: Path, tokenizer_path: Path) -> None:
    for path in (tmp_path / "missing", tokenizer_path):
        with pytest.raises(ArtifactError, match=path.name):
            Corpus.open(path)


def test_describe_tells_the_facts_and_the_first_sentence(corpus: Corpus) -> None:
    facts = describe(corpus.path)
    assert facts["kind"] == "corpus"
    assert (facts["n_documents"], facts["n_sentences"], facts["n_tokens"]) == (2, 3, corpus.n_tokens)
    assert facts["first_sentence"] == "the cats sat."
    assert facts["settings"]["sentences"] == "lines"
    json.dumps(facts)
