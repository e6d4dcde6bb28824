"""How many tokens a second one core turns into pre-training batches.

    python benchmarks/examples.py [CORPUS] [--tokens N] [--json FILE]

Without a corpus directory it makes up one of 20 million tokens with sentences and documents as long as those of film reviews.
"Plan" is drawing the samples, "pack" putting them into micro-batches, "assemble" reading, laying out and masking; "total" is
the loader at work, all three together; "fill" is how full the micro-batches are. In million tokens a second; tokens are those
of the batches, special ones included.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from bertsmith.batches.assembly import assemble
from bertsmith.batches.examples import Objective, TokenStore, offsets_of
from bertsmith.batches.full_sentences import FullSentences
from bertsmith.batches.loader import PretrainingLoader
from bertsmith.batches.masking import Masking, SpecialIds
from bertsmith.batches.next_sentence import NextSentence
from bertsmith.batches.order import DocumentOrder
from bertsmith.batches.packing import pack
from bertsmith.randomness import permutation

T = TypeVar("T")

TOKEN_BUDGET = 16_384
SPECIAL_IDS = SpecialIds(cls=101, sep=102, mask=103, vocabulary_size=30_522, special=frozenset(range(104)))


class MadeUpCorpus:
    """Random tokens in sentences of about 24 tokens and documents of about 12 sentences."""

    def __init__(self, n_tokens: int) -> None:
        random = np.random.default_rng(0)
        sentences = np.maximum(random.lognormal(2.9, 0.75, n_tokens // 24), 1).astype(np.int64)
        documents = np.maximum(random.lognormal(2.3, 0.65, len(sentences) // 12), 1).astype(np.int64)
        self.sentence_offsets = offsets_of(sentences)
        stops = np.minimum(offsets_of(documents), len(sentences))
        stops[-1] = len(sentences)
        self.document_offsets = np.unique(stops)
        self.tokens = random.integers(104, 30_522, self.sentence_offsets[-1], dtype=np.uint16)
        self.n_documents = len(self.document_offsets) - 1
        self._starts = random.random(len(self.tokens)) < 0.85

    def starts_word(self, token_indices: np.ndarray) -> np.ndarray:
        return self._starts[token_indices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", type=Path)
    parser.add_argument("--tokens", type=int, default=20_000_000, help="size of the made-up corpus")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus = open_corpus(arguments.corpus) if arguments.corpus else MadeUpCorpus(arguments.tokens)

    rows = []
    print(f"{'objective':>15} {'length':>6} {'masks':>6} {'plan':>8} {'pack':>8} {'assemble':>9} {'total':>8} {'fill':>7}")
    for objective in (NextSentence(128), NextSentence(512), FullSentences(512)):
        for whole_words in (False, True):
            row = measure(corpus, objective, Masking(whole_words=whole_words))
            rows.append(row)
            print(
                f"{row['objective']:>15} {row['max_length']:>6} {'words' if whole_words else 'tokens':>6} {row['plan']:>8.1f} "
                f"{row['pack']:>8.1f} {row['assemble']:>9.1f} {row['total']:>8.1f} {row['fill']:>7.4f}",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps({"million_tokens_per_second": rows}, indent=2) + "\n")


def open_corpus(directory: Path) -> TokenStore:
    from bertsmith.corpus.store import Corpus

    return Corpus.open(directory)


def measure(corpus: TokenStore, objective: Objective, masking: Masking) -> dict[str, Any]:
    """Return million tokens/s of each stage over the whole corpus, and how full the micro-batches are."""
    documents = np.arange(corpus.n_documents)
    order = DocumentOrder(corpus, documents, seed=1)
    windows = [order.window(0, window) for window in range(order.n_windows)]
    plans, plan_seconds = timed(lambda: [objective.plan(corpus, window, documents, 1, 0) for window in windows])
    plans = [plan.take(permutation(1, len(plan))) for plan in plans]
    packs, pack_seconds = timed(lambda: [pack(plan.lengths(), TOKEN_BUDGET) for plan in plans])
    batches = [plan.take(indices) for plan, packed in zip(plans, packs, strict=True) for indices in packed]
    ordinary = SPECIAL_IDS.ordinary()

    def assemble_all() -> None:
        for batch in batches:
            assemble(corpus, batch, masking, SPECIAL_IDS, ordinary, has_pairs=objective.has_pairs, seed=1, epoch=0)

    _, assemble_seconds = timed(assemble_all)
    loader = PretrainingLoader(corpus, documents, objective, masking, SPECIAL_IDS, TOKEN_BUDGET, seed=1)
    n_tokens = sum(int(plan.lengths().sum()) for plan in plans)
    total_tokens, total_seconds = timed(lambda: sum(one_epoch(loader)))
    return {
        "objective": objective.name,
        "max_length": objective.max_length,
        "whole_words": masking.whole_words,
        "plan": n_tokens / plan_seconds / 1e6,
        "pack": n_tokens / pack_seconds / 1e6,
        "assemble": n_tokens / assemble_seconds / 1e6,
        "total": total_tokens / total_seconds / 1e6,
        "fill": n_tokens / len(batches) / TOKEN_BUDGET,
    }


def one_epoch(loader: PretrainingLoader) -> Iterator[int]:
    """Yield the tokens of each micro-batch of epoch 0."""
    for position, batch in loader.iterate(0):
        yield batch.inputs.n_tokens
        if position >> 48:
            return


def timed(function: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    return function(), time.perf_counter() - started


if __name__ == "__main__":
    main()
