"""Compare bertsmith's tokenisation with transformers' fast BERT tokenizer on a folder of text and on hostile strings.

    python benchmarks/tokenizer_parity.py CORPUS [--tokenizer DIR] [--strings 100000]

Every document that bertsmith reads in CORPUS, and as many seeded random Unicode strings as asked for, are tokenised cased
and uncased by transformers, by ``Tokenizer`` and by ``MemoizedTokenizer``.  The vocabulary is that of ``--tokenizer``, or
one trained on CORPUS.  Prints one line of counts each and exits with 1 when anything differs.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import transformers

from bertsmith.progress import TerminalProgress
from bertsmith.sources.file_patterns import find_files
from bertsmith.text.memo import MemoizedTokenizer
from bertsmith.text.readers import ReaderConfig, read_documents
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.text.vocabulary import VocabularyConfig, train_vocabulary

READER = ReaderConfig(errors="replace")
BATCH_CHARACTERS = 1 << 20


def corpus_batches(folder: str) -> Iterator[list[str]]:
    """Yield the documents of the folder in batches of about a million characters."""
    files = find_files([folder])
    batch: list[str] = []
    characters = 0
    with TerminalProgress().task("comparing", sum(file.stat().st_size for file in files), "bytes") as task:
        for document in read_documents(files, READER, task):
            batch.append(document.text)
            characters += len(document.text)
            if characters > BATCH_CHARACTERS:
                yield batch
                batch, characters = [], 0
    yield batch


def random_batches(count: int) -> Iterator[list[str]]:
    """Yield random strings over all of Unicode, rich in what tokenisers stumble on."""
    random = np.random.default_rng(20180810)
    controls = [*range(0x20), *range(0x7F, 0xA1), *range(0x2000, 0x2070), 0x1680, 0x180E, 0x3000, 0xFEFF, 0xFFFD]
    pools = [
        np.r_[0:0xD800, 0xE000:0x110000],
        np.r_[0:0x3000],
        np.array(controls),
        np.r_[0x20, 0x20, 0x41:0x5B, 0x61:0x7B],
        np.r_[0x4E00:0x9FFF, 0x3400:0x4DBF, 0x300:0x36F, 0xAC00:0xD7A4, 0x1F300:0x1F650],
    ]
    special = ["[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[mask]"]
    strings = []
    for _ in range(count):
        length = int(random.integers(1, 60))
        codes = np.choose(random.integers(0, len(pools), length), [random.choice(pool, length) for pool in pools])
        characters = [chr(code) for code in codes]
        if random.random() < 0.1:
            characters[int(random.integers(length))] = str(random.choice(special))
        strings.append("".join(characters))
    yield from (strings[start : start + 5000] for start in range(0, count, 5000))


def compare(name: str, batches: Iterable[list[str]], tokenizer: Tokenizer, reference: Any) -> int:
    """Print how many texts differ from the reference, plain and memoised, and return their sum."""
    memoized = MemoizedTokenizer(tokenizer)
    texts = characters = tokens = differences = memo_differences = 0
    started = time.perf_counter()
    for batch in batches:
        expected = reference(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        differences += sum(a != b for a, b in zip(expected, tokenizer.token_ids(batch), strict=True))
        token_ids, lengths = memoized.token_ids(batch)
        found = np.split(token_ids, np.cumsum(lengths)[:-1])
        memo_differences += sum(a != b.tolist() for a, b in zip(expected, found, strict=True))
        texts += len(batch)
        characters += sum(map(len, batch))
        tokens += len(token_ids)
    print(
        f"{name}: {texts:,} texts, {characters:,} characters, {tokens:,} tokens: {differences} differ, "
        f"{memo_differences} differ memoised ({time.perf_counter() - started:.0f} s)",
        flush=True,
    )
    return differences + memo_differences


def main() -> int:
    """Run the comparison; 0 when nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--strings", type=int, default=100_000)
    arguments = parser.parse_args()
    differences = 0
    for cased in (False, True):
        if arguments.tokenizer:
            vocabulary = Tokenizer.load(arguments.tokenizer).tokens
        else:
            config = VocabularyConfig(files=[arguments.corpus], out=Path("unused"), cased=cased, reader=READER)
            vocabulary = train_vocabulary(config, TerminalProgress()).tokens
        tokenizer = Tokenizer.build(vocabulary, lowercase=not cased)
        with tempfile.TemporaryDirectory() as directory:
            tokenizer.save(Path(directory))
            reference = transformers.AutoTokenizer.from_pretrained(directory)
        name = "cased" if cased else "uncased"
        differences += compare(f"{name}, corpus", corpus_batches(arguments.corpus), tokenizer, reference)
        differences += compare(f"{name}, random", random_batches(arguments.strings), tokenizer, reference)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
