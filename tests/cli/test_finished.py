"""A verb that is run again after it has finished says so and does nothing; with other settings it refuses."""

import shutil
from pathlib import Path
from typing import Any

import pytest

COMMANDS = {
    "vocab": ["TEXT", "--size", "300"],
    "corpus": ["TEXT", "--tokenizer", "MODEL", "--sentences", "lines", "--workers", "1"],
    "convert": ["MODEL"],
    "compare words": ["--model", "MODEL", "--pairs", "PAIRS", "--text", "TEXT"],
}
OTHERWISE = {
    "vocab": (["--cased"], "cased was False, is now True"),
    "corpus": (["--words", "zh"], "words was 'tokenizer', is now 'zh'"),
    "convert": ([], "the file vocab.txt has other content now"),
    "compare words": (["--occurrences", "3"], "occurrences was 20, is now 3"),
}


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
    flags, difference = OTHERWISE[verb]
    if verb == "convert":
        shutil.copytree(toy_directory / "model", tmp_path / "model")
        vocabulary = tmp_path / "model" / "vocab.txt"
        vocabulary.write_text(vocabulary.read_text() + "\n")
        command[1] = str(tmp_path / "model")
    code, _, err = run_command(*command, *flags)
    assert (code, err.splitlines()[-3:]) == (
        1,
        [
            f"error: {out} exists already and was made with other settings or files:",
            f"  {difference}",
            "choose another --out or remove it first",
        ],
    )


def test_the_files_that_differ_are_named(run_command: Any, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(f"the word {name} stands here\n" * 9)
    a, b, c = (str(tmp_path / f"{name}.txt") for name in "abc")
    assert run_command("vocab", a, b, "--size", "100", "--out", str(tmp_path / "out"))[0] == 0
    Path(a).write_text("other words\n" * 9)
    code, _, err = run_command("vocab", a, c, "--size", "100", "--out", str(tmp_path / "out"))
    assert code == 1
    for change in (f"{a} has other content now", f"{b} is no longer given", f"{c} is new"):
        assert f"  the file {change}\n" in err
