"""How large a saved picture of a model's attention is, and how long it takes: bertsmith's page beside bertviz's head view.

    pip install bertviz ipython
    python benchmarks/inspection_size.py MODEL [--tokens 64 512]

bertviz's HTML has the attention of all layers and heads, and loads d3 and jQuery from a network; bertsmith's page has that and
all its other views, and loads nothing. Beyond 256 tokens it keeps the maximum of blocks of tokens.
"""

import argparse
import random
import time
from pathlib import Path

import torch
from bertviz import head_view

from bertsmith.inspection.export import exported
from bertsmith.inspection.gallery import Gallery, Start
from bertsmith.inspection.subject import Subject
from inspection_speed import WORDS


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 512])
    arguments = parser.parse_args()
    subject = Subject.load(arguments.model)
    print("| tokens | bertviz, head view | bertsmith, all views |")
    print("|---:|---:|---:|")
    for n_tokens in arguments.tokens:
        text = " ".join(random.Random(n_tokens).choices(WORDS, k=n_tokens - 2))
        theirs, their_seconds = _bertviz(subject, text)
        start = time.perf_counter()
        ours = len(exported(Gallery([("model", subject)], [], Start(text, None))))
        seconds = time.perf_counter() - start
        print(f"| {n_tokens} | {_cell(theirs, their_seconds)} | {_cell(ours, seconds)} |", flush=True)


def _bertviz(subject: Subject, text: str) -> tuple[int, float]:
    start = time.perf_counter()
    with torch.inference_mode():
        attention = subject.model(subject.tokenizer.pack([text]), want_attention=True).attention
    html = head_view([layer[0][None] for layer in attention], subject.tokenizer.encode(text).tokens, html_action="return")
    return len(html.data), time.perf_counter() - start


def _cell(n_bytes: int, seconds: float) -> str:
    return f"{n_bytes / 1e6:,.1f} MB in {seconds:.1f} s"


if __name__ == "__main__":
    main()
