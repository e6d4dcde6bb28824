"""The system refuses a call of a verb: a line is said, nothing is lost, and running again gives the same bytes."""

import errno
import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from bertsmith.files import DIGESTS, MANIFEST
from bertsmith.finetuning.grid import config_of
from bertsmith.finetuning.run import finetune
from bertsmith.tasks.kinds.classify import Classify

CALLS_TRIED = None if os.environ.get("BERTSMITH_ALL_FAULTS") else 6
# What depends on time in the files that a run leaves: values of JSON, the digests of the files that hold them, and in
# a report the time that it took and the curve of its speed.
TIMES = {"seconds", "elapsed", "tokens_per_second", "utilisation", "seal"}
TIMED_FILES = {"metrics", "metrics.jsonl", "result.json", "state.json"}
TIMED_PARTS = re.compile(rb'<dt>Time</dt><dd>[^<]*|<svg [^>]*aria-label="Speed.*?</g></svg>', re.DOTALL)
RANDOM = re.compile(r"\.[0-9a-f]{16}\.partial|(?<=/)\.tmp\w{6}$")

RUN = "--out OUT/made --device cpu --precision float32 --max-length"
COMMANDS = {
    "vocab": "vocab TEXT --size 300 --out OUT/made",
    "corpus": "corpus TEXT --tokenizer MODEL --sentences lines --workers 1 --out OUT/made",
    "convert": "convert MODEL OUT/made",
    "pretrain": "pretrain --corpus CORPUS --model MODEL --steps 3 --batch-tokens 512 --save-every 2 --loader-workers 0 "
    f"{RUN} 48",
    "finetune": f"finetune classify --model MODEL --train TRAIN --dev DEV --epochs 1 --batch-size 8 --save-every 2 {RUN} 32",
    "finetune grid": "finetune classify --model MODEL --train TRAIN --dev DEV --epochs 1 --batch-size 8 --seeds 2 --patience 2 "
    f"--evaluate-every 2 {RUN} 32",
    "predict": "predict TUNED DEV --out OUT/made.jsonl",
    "predict submission": "predict TUNED DEV --submission --out OUT/made.tsv",
    "evaluate": "evaluate TUNED DEV --rounds 100 --json",
    "fill": "fill MODEL the_[MASK]",
    "similar": "similar MODEL cat dog",
    "search": "search MODEL LINES moon --index OUT/made",
    "features": "features MODEL LINES --out OUT/made.npz",
    "features texts": "features MODEL LINES --pool mean --out OUT/made.safetensors",
    "features words": "features MODEL LINES --words mean --out OUT/made.jsonl",
    "features parquet": "features MODEL LINES --out OUT/made.parquet",
    "senses": "senses MODEL LINES --word moon --plot OUT/made.svg",
    "compare words": "compare words --model MODEL --pairs PAIRS --text LINES --out OUT/made",
    "compare features": "compare features --model MODEL --train TAGS --dev TAGS --variants last fine-tuned --seeds 1 "
    f"--epochs 1 --finetune-epochs 1 --width 8 {RUN} 32",
    "inspect": "inspect MODEL --text cat --out OUT/made.html",
    "info": "info TUNED",
}
# They are read alone, or keep what they have so far.
READING = {"evaluate", "fill", "similar", "info"}
RESUMABLE = {"corpus", "pretrain", "finetune", "finetune grid", "compare features"}


@pytest.fixture(scope="module")
def places(toy_directory: Path, toy_data: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The inputs of the commands, and where their outputs go."""
    folder = tmp_path_factory.mktemp("faults")
    data = toy_data("classify", folder / "data", 24, 12)
    tags = toy_data("tag", folder / "tags", 12, 4)
    pairs, lines = folder / "data" / "pairs.txt", folder / "data" / "lines.txt"
    pairs.write_text("cat\tdog\t7\nking\tsong\t1\nmoon\triver\t3\ncat\tmoon\t2\n")
    lines.write_text("the cat sees the dog\nthe moon and the king\na song of the moon\nriver\n")
    tuned = {"epochs": [1], "machine": {"device": "cpu", "precision": "float32"}, "task": {"max_length": 32}}
    config = config_of(Classify).from_values(
        {
            **tuned,
            "model": str(toy_directory / "model"),
            "train": data["train"],
            "dev": data["dev"],
            "out": str(folder / "run"),
        },
        "test",
    )
    return {
        "TEXT": toy_directory / "text.txt",
        "MODEL": toy_directory / "model",
        "CORPUS": toy_directory / "corpus",
        "TUNED": finetune(config),
        "PAIRS": pairs,
        "LINES": lines,
        "TRAIN": Path(data["train"]),
        "DEV": Path(data["dev"]),
        "TAGS": Path(tags["train"]),
        "OUT": folder / "out",
    }


def without_times(path: Path) -> bytes:
    """Return the content of a file, what depends on times blanked."""
    content = path.read_bytes()
    if path.name == "report.html":
        return TIMED_PARTS.sub(b"", content)
    if path.name == "metrics.jsonl":
        return b"\n".join(map(_without_times, content.splitlines()))
    is_timed = path.name in {*TIMED_FILES, DIGESTS} or (path.name == MANIFEST and (path.parent / "state.json").exists())
    return _without_times(content) if is_timed else content


def _without_times(content: bytes) -> bytes:
    def blank(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in TIMES | TIMED_FILES}

    try:
        return json.dumps(json.loads(content, object_hook=blank)).encode()
    except ValueError:  # it is cut short
        return content


def contents(root: Path) -> dict[str, bytes]:
    """Return the files below a directory by their places, without what is random in these and what depends on times."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".lock")
    return {RANDOM.sub(".partial", str(path.relative_to(root))): without_times(path) for path in files}


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> dict[str, str]:
    """Return the files that are in one alone, or differ, and where."""
    differing = dict.fromkeys(found.keys() ^ expected.keys(), "in one alone")
    for name in found.keys() & expected.keys():
        if found[name] != expected[name]:
            at = next((at for at, pair in enumerate(zip(found[name], expected[name], strict=False)) if len(set(pair)) > 1), 0)
            part = slice(max(0, at - 80), at + 80)
            differing[name] = f"{found[name][part]!r} where {expected[name][part]!r} is expected"
    return differing


@pytest.mark.parametrize("verb", COMMANDS)
def test_a_refused_call(
    verb: str,
    run_command: Any,
    fault_layer: Any,
    codes: tuple[int, ...],
    places: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bertsmith.pretraining.run.matrix_product_rate", lambda _device, _dtype: 1e9)
    out, words = places["OUT"], COMMANDS[verb].split()
    arguments = [re.sub(r"\b[A-Z]{3,}\b", lambda name: str(places.get(name[0], name[0])), word) for word in words]
    roots = [places[word] for word in words if word in places] + [out]

    def run(fails_at: int = 0, code: int = 0) -> tuple[Any, tuple[int, str, str]]:
        with fault_layer(roots, fails_at, code) as layer:
            return layer, run_command(*arguments)

    def begin() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()

    begin()
    _, (code, _, err) = run()
    assert code == 0, err  # what is imported now is not imported again, nor what is made once
    begin()
    layer, (_, said, _) = run()
    n_calls, expected = layer.n_calls, contents(out)
    assert n_calls > 5 and bool(expected) == (verb not in READING)
    if CALLS_TRIED is None:
        with capsys.disabled():
            print(f"{verb}: {n_calls} calls, {dict(layer.calls)}", flush=True)

    draw = random.Random(verb)
    every = range(1, n_calls + 1)
    tried = [(number, code) for number in every for code in codes]
    if CALLS_TRIED is not None:
        tried = [(number, draw.choice(codes)) for number in sorted(draw.sample(every, CALLS_TRIED))]
    went_on_from = []
    for number, code in tried:
        begin()
        layer, (left, found, err) = run(number, code)
        where = f"call {number} of {n_calls}, {layer.failed}, {errno.errorcode[code]}: {err}"
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in err, where
        assert len(errors) == (left != 0), where
        state = contents(out)
        assert left != 0 or (found == said and expected.items() <= state.items()), where
        visible = {name: content for name, content in state.items() if ".partial" not in name}
        assert verb in RESUMABLE or visible in ({}, expected), where
        if state in went_on_from:
            continue
        went_on_from.append(state)
        again, found, err = run()[1]
        assert again == 0, f"{where}; then {err}"
        assert not differences(contents(out), expected), where
