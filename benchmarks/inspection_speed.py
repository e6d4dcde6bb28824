"""How long the inspection page waits for its answers: each view over HTTP, for a text it has not seen and for one it has.

    python benchmarks/inspection_speed.py MODEL [--tokens 64 512] [--repeats 5]

Medians in milliseconds, request and answer included. "New text" is what a reader waits for after a change of the text, "new
setting" after a change of layer, position or seed, with the text's states already there; no answer is asked for twice.
"""

import argparse
import json
import random
import statistics
import threading
import time
import urllib.error
import urllib.request
from itertools import count
from pathlib import Path
from typing import Any

import uvicorn

from bertsmith.inspection.gallery import Gallery, Start
from bertsmith.inspection.server import listen, make_app

WORDS = ("river", "boat", "house", "child", "bread", "night", "money", "garden", "letter", "music", "tree", "window")


def main() -> None:
    """Serve the model to itself and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    gallery = Gallery.open([arguments.model], Start("warm up", None))
    with listen(0) as listening:
        server = uvicorn.Server(uvicorn.Config(make_app(gallery), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/api/"
        missing = json.load(urllib.request.urlopen(address + "models"))["models"][0]["missing"]
        _table(address, arguments, missing, gallery.subject("a").n_layers)
        server.should_exit = True
        thread.join()


def _table(address: str, arguments: argparse.Namespace, missing: dict[str, Any], n_layers: int) -> None:
    numbers = count()
    print("| view | " + " | ".join(f"new text, {n} tokens | new setting, {n} tokens" for n in arguments.tokens) + " | KiB |")
    print("|---|" + "---:|" * (2 * len(arguments.tokens) + 1))
    for view, fixed, changing in _views(n_layers):
        if view in missing:
            continue
        cells = []
        for n_tokens in arguments.tokens:
            seconds: list[list[float]] = [[] for _ in changing]
            for _ in range(arguments.repeats + 1):
                text = {"model": "a", "text": _text(next(numbers), n_tokens)}
                for own, change in zip(seconds, changing, strict=True):
                    elapsed, n_bytes = _ask(address + view, {**text, **fixed, **change})
                    own.append(elapsed)
            # The first of each is a warm-up.
            medians = [f"{statistics.median(own[1:]) * 1000:.0f}" for own in seconds]
            cells += [*medians, *[""] * (2 - len(medians))]
        print(f"| {view} | {' | '.join(cells)} | {n_bytes / 1024:.0f} |", flush=True)


def _views(n_layers: int) -> list[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    layers = [{"layer": n_layers}, {"layer": n_layers - 1}]
    return [
        ("input", {}, [{}]),
        ("attention", {}, layers),
        ("attention-overview", {}, [{}]),
        ("heads", {}, [{}]),
        ("rollout", {}, layers),
        ("query-key", {}, layers),
        ("similarity", {"apart": False}, layers),
        ("neighbours", {"sentences": ["The boat lay on the river.", "She ate some bread."]}, layers),
        ("predict", {"masked": True}, [{"position": 5}, {"position": 6}]),
        ("masking", {"epoch": 0, "whole_words": False}, [{"seed": 1}, {"seed": 2}]),
    ]


def _text(number: int, n_tokens: int) -> str:
    """Return a text of so many tokens, special ones counted, another one for each number."""
    return " ".join(random.Random(number).choices(WORDS, k=n_tokens - 2))


def _ask(address: str, values: dict[str, Any]) -> tuple[float, int]:
    """Return the seconds that an answer takes, and its bytes."""
    request = urllib.request.Request(address, json.dumps(values).encode(), {"Content-Type": "application/json"})
    start = time.perf_counter()
    with urllib.request.urlopen(request) as response:
        body = response.read()
    return time.perf_counter() - start, len(body)


if __name__ == "__main__":
    main()
