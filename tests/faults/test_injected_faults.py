"""The system refuses a call of a verb: a line is said, nothing is lost, and running again gives the same bytes."""

import builtins
import errno
import io
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CODES = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
CALLS_TRIED = None if os.environ.get("BERTSMITH_ALL_FAULTS") else 6
# What depends on times and places.
UNLIKE = re.compile(
    r"(report\.html|\.lock|config\.toml|README\.md|metrics\.jsonl|(state|manifest|environment|digests|result)\.json)$"
)


class FaultLayer:
    """Stands under all that opens, makes, renames, reads, writes and flushes below a directory, and lets one call fail."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}{os.sep}"
        self.n_calls, self._fails_at, self._code = 0, 0, 0

    def expect(self, fails_at: int, code: int) -> None:
        """Let a call fail, counted from 1; 0 for none."""
        self.n_calls, self._fails_at, self._code = 0, fails_at, code

    def _called(self, path: Any, named: bool) -> None:
        if not str(path).startswith(self._root):
            return
        self.n_calls += 1
        if self.n_calls == self._fails_at:
            words = self._code, os.strerror(self._code)
            raise OSError(*words, str(path)) if named else OSError(*words)

    def under(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of a path with the layer under it."""

        def call(path: Any, *rest: Any, **named: Any) -> Any:
            self._called(path, named=True)
            return function(path, *rest, **named)

        return call

    def fsync(self, function: Callable[[int], None]) -> Callable[[int], None]:
        """Return os.fsync with the layer under it."""

        def call(number: int) -> None:
            self._called(Path(f"/proc/self/fd/{number}").readlink(), named=False)
            function(number)

        return call

    def open(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return open() with the layer under it and under what its files do."""

        def call(path: Any, *rest: Any, **named: Any) -> Any:
            self._called(path, named=True)
            file = function(path, *rest, **named)
            return _File(file, lambda: self._called(path, named=False)) if str(path).startswith(self._root) else file

        return call


class _File:
    def __init__(self, file: Any, called: Callable[[], None]) -> None:
        self.__dict__.update(_file=file, _called=called)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._file.__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        self._called()
        return iter(self._file)

    def write(self, content: Any) -> Any:
        self._called()
        return self._file.write(content)

    def read(self, *size: int) -> Any:
        self._called()
        return self._file.read(*size)


@contextmanager
def fault_layer(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultLayer]:
    """Put the layer under this process."""
    layer = FaultLayer(root)
    with monkeypatch.context() as patch:
        for name in ("open", "mkdir", "replace", "rename", "chmod"):
            patch.setattr(os, name, layer.under(getattr(os, name)))
        patch.setattr(os, "fsync", layer.fsync(os.fsync))
        patch.setattr(io, "open", layer.open(io.open))
        patch.setattr(builtins, "open", layer.open(builtins.open))
        yield layer


COMMANDS = {
    "vocab": "vocab TEXT --size 300 --out OUT/made",
    "corpus": "corpus TEXT --tokenizer MODEL --sentences lines --workers 1 --out OUT/made",
    "convert": "convert MODEL OUT/made",
    "compare words": "compare words --model MODEL --pairs PAIRS --out OUT/made",
    "features": "features MODEL LINES --out OUT/made.npz",
    "features jsonl": "features MODEL LINES --out OUT/made.jsonl",
    "search": "search MODEL LINES moon --index OUT/made",
    "inspect": "inspect MODEL --text cat --out OUT/made.html",
    "pretrain": "pretrain --corpus CORPUS --model MODEL --steps 3 --max-length 48 --batch-tokens 512 --save-every 2 "
    "--out OUT/made --device cpu --precision float32 --loader-workers 0",
    "finetune": "finetune classify --model MODEL --train TRAIN --dev DEV --epochs 1 --batch-size 8 --save-every 2 "
    "--out OUT/made --device cpu --precision float32 --max-length 32",
}


def contents(root: Path) -> dict[str, bytes]:
    """Return the files below a directory by their places, without those that times and places stand in."""
    files = (path for path in root.rglob("*") if path.is_file() and not UNLIKE.search(path.name))
    return {str(path.relative_to(root)): path.read_bytes() for path in files if "checkpoints" not in path.parts}


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_refused_call(
    verb: str, run_command: Any, toy_directory: Path, toy_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertsmith.pretraining.run.matrix_product_rate", lambda _device, _dtype: 1e9)
    data = toy_data("classify", tmp_path / "data", 24, 12)
    for name, content in {"pairs": "cat\tdog\t7\nking\tsong\t1\nmoon\triver\t3\n", "lines": "the cat sees\nthe moon\n"}.items():
        (tmp_path / f"{name}.txt").write_text(content)
    places = {
        "TEXT": toy_directory / "text.txt",
        "MODEL": toy_directory / "model",
        "CORPUS": toy_directory / "corpus",
        "PAIRS": tmp_path / "pairs.txt",
        "LINES": tmp_path / "lines.txt",
        "TRAIN": data["train"],
        "DEV": data["dev"],
    }

    def run(out: Path) -> tuple[int, str, str]:
        out.mkdir(exist_ok=True)
        words = COMMANDS[verb].replace("OUT", str(out)).split()
        return run_command(*(str(places.get(word, word)) for word in words))

    good = tmp_path / "good"
    with fault_layer(good, monkeypatch) as layer:
        assert run(good)[0] == 0
        n_calls = layer.n_calls
    expected = contents(good)
    assert n_calls > 5 and expected
    draw = random.Random(verb)
    tried = range(1, n_calls + 1) if CALLS_TRIED is None else sorted(draw.sample(range(1, n_calls + 1), CALLS_TRIED))
    for number in tried:
        code, out = draw.choice(CODES), tmp_path / f"out-{number}"
        with fault_layer(out, monkeypatch) as layer:
            layer.expect(number, code)
            left, _, err = run(out)
        where = f"call {number} of {n_calls}, {errno.errorcode[code]}: {err}"
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in err, where
        assert len(errors) == (left != 0), where
        assert left != 0 or contents(out) == expected, where
        again, _, err = run(out)
        assert again == 0, f"{where}; then {err}"
        assert contents(out) == expected, where
        assert not list(out.rglob("*.partial")), where
