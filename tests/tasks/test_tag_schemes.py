"""Tag schemes against conlleval's published rules, seqeval, and every short sentence there is."""

import itertools
import random

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from bertsmith.errors import InputError
from bertsmith.tasks.tag_schemes import (
    TYPES_ALONE,
    Chunk,
    all_labels,
    chunk_letters,
    chunks,
    is_legal,
    legal_moves,
    rewrite,
    scheme_of,
    spelling_of,
)

SPANS = {"iob1": ("I", "I", "I", "I"), "iob2": ("B", "I", "I", "B"), "bioes": ("B", "I", "E", "S")}
LABELS = {"iob1": "OBI", "iob2": "OBI", "bioes": "OBIES"}


def _write(found: list[Chunk], length: int, scheme: str) -> list[str]:
    first, middle, last, only = SPANS[scheme]
    tags = ["O"] * length
    for chunk in found:
        n_words = chunk.stop - chunk.start
        prefixes = [only] if n_words == 1 else [first, *[middle] * (n_words - 2), last]
        tags[chunk.start : chunk.stop] = [f"{prefix}-{chunk.type}" for prefix in prefixes]
        before = tags[chunk.start - 1][2:] if chunk.start else None
        if scheme == "iob1" and before == chunk.type:
            tags[chunk.start] = f"B-{chunk.type}"
    return tags


def _random_chunks(draw: random.Random, length: int) -> list[Chunk]:
    found, word = [], 0
    while word < length:
        stop = min(length, word + draw.randint(1, 4))
        if draw.random() < 0.6:
            found.append(Chunk(draw.choice(["PER", "LOC", "MISC-X"]), word, stop))
        word = stop
    return found


def _conlleval(tags: list[str]) -> list[tuple[str, int, int]]:
    """The tables of startOfChunk and endOfChunk, with S as a B that also ends."""
    starts = {"BB", "IB", "OB", "EB", "SB", "BS", "IS", "OS", "ES", "SS", "OI", "EI", "SI", "OE", "EE", "SE"}
    ends = {"BB", "BO", "BS", "IB", "IO", "IS", *(f"{before}{tag}" for before in "ES" for tag in "BIESO")}
    found, begin, before, type_before = [], 0, "O", ""
    for word, tag in enumerate([*tags, "O"]):
        prefix, type_ = (tag[0], tag[2:]) if tag != "O" else ("O", "")
        if before + prefix in ends or (before != "O" and type_before != type_):
            found.append((type_before, begin, word))
        if before + prefix in starts or (prefix != "O" and type_before != type_):
            begin = word
        before, type_before = prefix, type_
    return found


def _plain(found: list[Chunk]) -> list[tuple[str, int, int]]:
    return [(chunk.type, chunk.start, chunk.stop) for chunk in found]


@pytest.mark.parametrize("scheme", SPANS)
def test_chunks_written_in_a_scheme_are_read_back(scheme):
    draw = random.Random(scheme)
    sentences = []
    for _ in range(1000):
        length = draw.randint(0, 12)
        expected = _random_chunks(draw, length)
        tags = _write(expected, length, scheme)
        sentences.append(tags)
        assert chunks(tags) == expected
        assert chunks([tag.replace("S-", "U-").replace("E-", "L-") for tag in tags]) == expected
        assert is_legal(tags, scheme)
        assert rewrite(tags, "BIIB") == _write(expected, length, "iob2")
        assert rewrite(tags, "BIES") == _write(expected, length, "bioes")
        assert rewrite(rewrite(tags, "BILU"), "BIES") == _write(expected, length, "bioes")
        assert _plain(expected) == [(type_, start, last + 1) for type_, start, last in get_entities(tags)]
    assert scheme_of(sentences) == scheme


def test_any_mix_of_tags_reads_as_conlleval_and_seqeval_read_it():
    draw = random.Random(0)
    tags_of_all = ["O", *(f"{prefix}-{type_}" for prefix in "BIES" for type_ in ("PER", "LOC"))]
    for _ in range(1000):
        tags = draw.choices(tags_of_all, k=draw.randint(0, 10))
        assert _plain(chunks(tags)) == _conlleval(tags)
        assert _plain(chunks(tags)) == [(type_, start, last + 1) for type_, start, last in get_entities(tags)]


def test_tags_without_a_type_are_chunks_too():
    assert chunks(["B", "I", "O", "S"]) == [Chunk("", 0, 2), Chunk("", 3, 4)]
    assert rewrite(["I", "I", "O"], "BIIB") == ["B", "I", "O"]
    assert rewrite(["I", "I", "O", "I"], "BILU") == ["B", "L", "O", "U"]


@pytest.mark.parametrize(
    ("scheme", "tags", "written"),
    [
        ("iob2", "I-A I-A I-B O I-B B-A I-A", "B-A I-A B-B O B-B B-A I-A"),
        ("iob2", "O I-A", "O B-A"),
        ("bioes", "O I-A E-A", "O B-A E-A"),
        ("bioes", "B-A I-A O", "B-A E-A O"),
        ("bioes", "S-A B-B", "S-A S-B"),
        ("bioes", "E-A I-A I-B", "S-A S-A S-B"),
    ],
)
def test_what_is_illegal_is_seen_and_written_anew(scheme, tags, written):
    assert not is_legal(tags.split(), scheme)
    assert rewrite(tags.split(), chunk_letters(tags.split(), scheme)) == written.split()
    assert is_legal(written.split(), scheme)


def test_bilou_keeps_its_prefixes():
    assert chunk_letters(["O", "LOC", "B-LOC", "S-LOC"], "bioes") == "BIES"
    assert [chunk_letters([label], "bioes") for label in ("L-A", "U-A", "U")] == ["BILU"] * 3
    assert all_labels({"U-A", "O"}, "bioes") == ("O", "B-A", "I-A", "L-A", "U-A")
    assert all_labels({"U", "O"}, "iob2") == ("O", "B", "I")


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        ([["DET", "NOUN"], ["O"]], "plain"),
        ([["NN", "-LRB-", "B-"]], "plain"),
        ([["I-A", "O"], ["I-B"]], "iob1"),
        ([["I-A", "B-A"], ["O", "I-B"]], "iob1"),
        ([["I-A", "B-B"]], "iob2"),
        ([["O", "B-A"], ["I-A"]], "iob2"),
        ([["O", "O"]], "iob2"),
        ([], "iob2"),
        ([["B-A", "I-A"], ["S-A"]], "bioes"),
        ([["B-A", "L-A"]], "bioes"),
    ],
)
def test_the_scheme_is_found(sentences, scheme):
    assert scheme_of(iter(sentences)) == scheme


@pytest.mark.parametrize(
    ("tags", "scheme", "labels", "read"),
    [
        ("B-PER M-PER E-PER S-LOC O", "bioes", "O B-LOC E-LOC M-LOC S-LOC B-PER E-PER M-PER S-PER", ["PER 0 3", "LOC 3 4"]),
        ("B M E S S", "bioes", "O B E M S", [" 0 3", " 3 4", " 4 5"]),
        ("PER-B PER-I O LOC-B", "iob2", "O LOC-B LOC-I PER-B PER-I", ["PER 0 2", "LOC 3 4"]),
        ("B_LOC I_LOC O B_A-B", "iob2", "O B_A-B I_A-B B_LOC I_LOC", ["LOC 0 2", "A-B 3 4"]),
        ("LOC_B O LOC_W LOC_B LOC_M LOC_E", "bioes", "O LOC_B LOC_E LOC_M LOC_W", ["LOC 0 1", "LOC 2 3", "LOC 3 6"]),
        ("b-loc i-loc o", "iob2", "o b-loc i-loc", ["loc 0 2"]),
        ("B-COUNT o o I-COUNT", "iob2", "o B-COUNT I-COUNT", ["COUNT 0 1", "COUNT 3 4"]),
        ("B-LOC o O i-LOC", "iob2", "O B-LOC I-LOC", ["LOC 0 1", "LOC 3 4"]),
        ("X|B O X|B X|I", "iob2", "O X|B X|I", ["X 0 1", "X 2 4"]),
        ("B/地名 I/地名 O", "iob2", "O B/地名 I/地名", ["地名 0 2"]),
    ],
)
def test_other_spellings_are_read_and_written(tags, scheme, labels, read):
    words = tags.split()
    spelling = spelling_of(words)
    assert spelling is not None
    assert scheme_of([words]) == scheme
    assert [f"{chunk.type} {chunk.start} {chunk.stop}" for chunk in chunks(words, spelling)] == read
    assert all_labels(set(words), scheme, spelling) == tuple(labels.split())
    assert spelling_of(labels.split()) == spelling
    written = rewrite(words, chunk_letters(words, scheme, spelling), spelling)
    assert set(written) <= set(labels.split())
    assert chunks(written, spelling) == chunks(words, spelling)


@pytest.mark.parametrize(
    "tags",
    ["N S I V", "DET B", "b m s n v", "NN-S VB-D", "PER LOC O", "S-1 T-2", "B-", "-LRB- I", "N-S N-M", "N_S V_I", "S I", "M S"],
)
def test_tags_that_mark_no_chunks_are_plain(tags):
    assert spelling_of(tags.split()) is None
    assert scheme_of([tags.split()]) == "plain"


def test_types_alone_are_chunks_of_equal_tags():
    tags = ["PER", "PER", "O", "LOC", "PER"]
    assert chunks(tags, TYPES_ALONE) == [Chunk("PER", 0, 2), Chunk("LOC", 3, 4), Chunk("PER", 4, 5)]
    assert all_labels(set(tags), "io", TYPES_ALONE) == ("O", "LOC", "PER")
    assert rewrite(tags, chunk_letters(tags, "io", TYPES_ALONE), TYPES_ALONE) == tags
    assert all(moves.all() for moves in legal_moves(["O", "LOC", "PER"], "io", TYPES_ALONE))


def test_a_tag_that_is_none_of_a_scheme_is_named():
    with pytest.raises(InputError, match="'PER' stands beside tags of chunks"):
        scheme_of([["O", "B-PER"], ["PER", "O"]])


@pytest.mark.parametrize("scheme", LABELS)
def test_legal_sentences_are_those_that_decode_and_encode_to_themselves(scheme):
    labels = ["O", *(f"{prefix}-{type_}" for prefix in LABELS[scheme][1:] for type_ in "XY")]
    allowed, starts, ends = legal_moves(labels, scheme)
    for length in range(1, 5):
        for path in itertools.product(range(len(labels)), repeat=length):
            tags = [labels[label] for label in path]
            is_legal = starts[path[0]] and ends[path[-1]] and all(allowed[move] for move in itertools.pairwise(path))
            assert is_legal == (_write(chunks(tags), length, scheme) == tags), tags


def test_bilou_has_the_grammar_of_bioes():
    for bioes, bilou in zip(
        legal_moves(["O", "B-X", "I-X", "E-X", "S-X"], "bioes"),
        legal_moves(["O", "B-X", "I-X", "L-X", "U-X"], "bioes"),
        strict=True,
    ):
        np.testing.assert_array_equal(bioes, bilou)


def test_plain_tags_may_follow_each_other_in_any_order():
    assert all(moves.all() for moves in legal_moves(["I-A", "NOUN", "B-B"], "plain"))
