"""Senses of ambiguous words in sentences labelled by hand, found by a real model without the labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from bertsmith.artifacts.directory import load_model
from bertsmith.engine.engine import Engine
from bertsmith.inference.features import FeaturePipeline, Layers
from bertsmith.sources.example_tables import read_table
from bertsmith.text.occurrences import Occurrence, WordFinder
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.words.senses import find_senses
from bertsmith.words.word_vectors import word_vectors

SENTENCES = Path(__file__).parent / "word_senses_en.tsv"


@pytest.fixture(scope="module")
def labelled() -> dict[str, tuple[list[Occurrence], list[str]]]:
    """Ten words, each with its occurrences and the sense of each."""
    found: dict[str, tuple[list[Occurrence], list[str]]] = {}
    tokenizer = Tokenizer.build(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], lowercase=True)
    for record in read_table(SENTENCES).rows:
        word, sense, sentence = (record.values[name] for name in ("word", "sense", "sentence"))
        _, start, end = next(WordFinder(tokenizer, [word]).find(sentence))
        occurrences, senses = found.setdefault(word, ([], []))
        occurrences.append(Occurrence(word, sentence, start, end, record.source))
        senses.append(sense)
    return found


def test_ten_words_of_at_least_ten_sentences(labelled: dict[str, tuple[list[Occurrence], list[str]]]) -> None:
    assert len(labelled) == 10
    for occurrences, senses in labelled.values():
        counts = [senses.count(sense) for sense in set(senses)]
        assert len(occurrences) >= 10 and len(counts) in (2, 3) and min(counts) >= 5


def test_senses_part_better_than_chance(minilm: Path, labelled: dict[str, tuple[list[Occurrence], list[str]]]) -> None:
    model, tokenizer = load_model(minilm), Tokenizer.load(minilm)
    pipeline = FeaturePipeline(Engine(model, torch.device("cpu"), "float32"), tokenizer, Layers((0, model.config.n_layers)))
    scores = []
    for occurrences, senses in labelled.values():
        vectors_LnD = np.stack([vectors_LD for _, vectors_LD in word_vectors(pipeline, occurrences)], axis=1)
        found = [find_senses(occurrences, vectors_nD, tokenizer, len(set(senses))).labels() for vectors_nD in vectors_LnD]
        scores.append([adjusted_rand_score(senses, labels) for labels in found])
    embeddings, last = np.array(scores).T
    # Chance is 0, whatever the number and the sizes of the senses.
    assert last.min() > 0.25 and last.mean() > 0.7
    assert embeddings.mean() < 0.2
