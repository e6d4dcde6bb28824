"""How many tokens a second each stage of the data path makes, next to what a model can eat.

    python benchmarks/data_path.py TEXT.txt.gz [--tokenizer DIR] [--model-rate TOKENS] [--json FILE]

"Read and tokenise" is corpus building, all told, with ``--workers`` processes, done once for a corpus. The other stages run
on one core beside the model, every epoch anew, over ``--tokens`` made-up tokens: next-sentence pairs up to 128 tokens,
single tokens masked. Tokens of batches include special ones.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch

from bertsmith.batches.masking import Masking
from bertsmith.batches.next_sentence import NextSentence
from corpus_building import measure as build
from corpus_building import train_tokenizer, write_text
from examples import MadeUpCorpus
from examples import measure as make_examples


def main() -> None:
    """Measure what the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="text, one sentence a line, plain or .gz")
    parser.add_argument("--tokenizer", type=Path, help="its directory; default: one trained on the text")
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=20_000_000)
    parser.add_argument("--model-rate", type=float, help="tokens/s of the model's training step, to compare with")
    parser.add_argument("--json", type=Path, help="write the figures here")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="data-path-") as directory:
        text = write_text(flags.text, flags.megabytes, Path(directory, "text.txt"))
        tokenizer = flags.tokenizer or train_tokenizer(text, Path(directory, "tokenizer"))
        built = build("bertsmith", text, tokenizer, flags.workers)
    examples = make_examples(MadeUpCorpus(flags.tokens), NextSentence(128), Masking())
    rates = {
        "read and tokenise": built.tokens / built.seconds,
        "plan": 1e6 * examples["plan"],
        "pack": 1e6 * examples["pack"],
        "assemble and mask": 1e6 * examples["assemble"],
        "plan to mask, in all": 1e6 * examples["total"],
    }
    print(f"{'stage':22}{'tokens/s':>13}" + (f"{'times the model':>17}" if flags.model_rate else ""))
    for stage, rate in rates.items():
        print(f"{stage:22}{rate:13,.0f}" + (f"{rate / flags.model_rate:17,.0f}" if flags.model_rate else ""))
    if flags.json:
        figures = {"tokens_per_second": rates, "model_rate": flags.model_rate}
        flags.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
