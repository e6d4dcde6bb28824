"""A verb that is run again after it has finished says so and does nothing; with other settings it refuses."""

from pathlib import Path
from typing import Any

import pytest

COMMANDS = {
    "vocab": ["TEXT", "--size", "300"],
    "corpus": ["TEXT", "--tokenizer", "MODEL", "--sentences", "lines", "--workers", "1"],
    "convert": ["MODEL"],
    "compare words": ["--model", "MODEL", "--pairs", "PAIRS", "--text", "TEXT"],
}
OTHERWISE = {"vocab": ["--cased"], "corpus": ["--words", "zh"], "convert": None, "compare words": ["--occurrences", "3"]}


@pytest.mark.parametrize("verb", COMMANDS)
def test_run_again(run_command: Any, toy_directory: Path, tmp_path: Path, verb: str) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("cat\tdog\t7\nking\tsong\t1\nmoon\triver\t3\nbread\ttree\t2\n")
    places = {"TEXT": toy_directory / "text.txt", "MODEL": toy_directory / "model", "PAIRS": pairs}
    out = tmp_path / "out"
    command = [*verb.split(), *(str(places.get(word, word)) for word in COMMANDS[verb])]
    command += [str(out)] if verb == "convert" else ["--out", str(out)]
    first = run_command(*command)
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    code, said, err = run_command(*command)
    assert (first[0], code, said) == (0, 0, first[1])
    assert f"{out} is finished already, with the same settings and files" in err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == written
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*.partial"))
    if (other := OTHERWISE[verb]) is not None:
        code, _, err = run_command(*command, *other)
        assert code == 1 and f"{out} exists already; choose another --out" in err
