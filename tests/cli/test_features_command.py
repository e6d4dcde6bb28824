"""``bertsmith features``: four formats with the same vectors, read back with the libraries that read them; refusals."""

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import safetensors.numpy
import torch

from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.engine.engine import Engine
from bertsmith.inference import feature_files
from bertsmith.inference.feature_files import Contents, Vectors, feature_file
from bertsmith.inference.features import FeaturePipeline, TextFeatures
from bertsmith.model.mixing import Layers
from bertsmith.text.tokenizer import Tokenizer

TEXTS = ["the cat sees 北京.", "  a bird's moon", "the old sailor likes bread " * 30]
EXTENSIONS = [".npz", ".safetensors", ".jsonl", ".parquet"]


@pytest.fixture
def model(toy_directory: Path) -> Path:
    return toy_directory / "model"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "texts.txt").write_text(f"{TEXTS[0]}\n\n{TEXTS[1]}\n{TEXTS[2]}\n", encoding="utf-8")
    return tmp_path / "texts.txt"


def _features(model: Path, layers: str) -> list[TextFeatures]:
    loaded = load_model(model)
    engine = Engine(loaded, torch.device("cpu"), "float32")
    return FeaturePipeline(engine, Tokenizer.load(model), Layers.parse(layers, loaded.config.n_layers))(TEXTS)


def _read(path: Path, unit: str) -> list[tuple[int, list[tuple[str, int, int]], np.ndarray[Any, Any]]]:
    """Return of each text its line, its units with their characters, and the vectors (N, L, D)."""
    if path.suffix == ".jsonl":
        return list(map(_from_json, path.read_text(encoding="utf-8").splitlines(), [unit] * 1000))
    if path.suffix == ".parquet":
        return _from_parquet(pyarrow.parquet.read_table(path), unit)
    flat = dict(np.load(path)) if path.suffix == ".npz" else safetensors.numpy.load_file(path)
    if unit == "texts":
        return [(line, [], vectors[None]) for line, vectors in zip(flat["lines"].tolist(), flat["vectors"], strict=True)]
    strings, stops = flat["strings"].tobytes(), flat["string_offsets"].tolist()
    found = []
    for line, start, stop in zip(flat["lines"].tolist(), flat["text_offsets"][:-1], flat["text_offsets"][1:], strict=True):
        units = [
            (strings[stops[n] : stops[n + 1]].decode(), int(flat["starts"][n]), int(flat["ends"][n]))
            for n in range(start, stop)
        ]
        found.append((line, units, flat["vectors"][start:stop]))
    return found


def _from_json(line: str, unit: str) -> Any:
    one = json.loads(line)
    assert one["text"] in TEXTS
    if unit == "texts":
        return one["line"], [], np.array([one["vectors"]])
    units = [(each["text"], each["start"], each["end"]) for each in one[unit]]
    return one["line"], units, np.array([each["vectors"] for each in one[unit]])


def _from_parquet(table: pyarrow.Table, unit: str) -> Any:
    names = [name for name in table.column_names if name.startswith(("layer_", "vector"))]
    layers = [np.stack(table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1)) for name in names]
    vectors = np.stack(layers, axis=1)
    if unit == "texts":
        return [(line, [], one[None]) for line, one in zip(table["line"].to_pylist(), vectors, strict=True)]
    numbers = np.array(table["text_number"])
    rows = table.select(["string", "start", "end"]).to_pylist()
    found = []
    for number in dict.fromkeys(numbers.tolist()):
        places = np.flatnonzero(numbers == number)
        units = [tuple(rows[place].values()) for place in places]
        found.append((table["line"][int(places[0])].as_py(), units, vectors[places]))
    return found


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(
    ("flags", "unit", "layers"),
    [
        (["--layers", "0,2"], "tokens", "0,2"),
        (["--layers", "-1,-2", "--words", "mean"], "words", "-1,-2"),
        (["--layers", "concat-last-2", "--words", "first"], "words", "concat-last-2"),
        (["--layers=all", "--pool", "max"], "texts", "all"),
    ],
)
def test_every_format_holds_the_same(
    run_command: Any, model: Path, file: Path, tmp_path: Path, extension: str, flags: list[str], unit: str, layers: str
) -> None:
    out = tmp_path / f"found{extension}"
    code, printed, err = run_command("features", model, file, "--out", out, "--precision", "float32", *flags)
    assert (code, printed) == (0, ""), err
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, "texts.txt"]
    found = _read(out, unit)
    assert [line for line, _, _ in found] == [1, 3, 4]
    for text, (_, units, vectors), expected in zip(TEXTS, found, _features(model, layers), strict=True):
        if unit == "texts":
            expected_NLD = expected.pooled("max")[None]
        elif unit == "words":
            spans, expected_LWD = expected.words("mean" if "mean" in flags else "first")
            expected_NLD = expected_LWD.swapaxes(0, 1)
            assert units == [(text[start:end], start, end) for start, end in spans]
        else:
            expected_NLD = expected.layers_LSD.swapaxes(0, 1)
            assert units == [(token, *span) for token, span in zip(expected.tokens, expected.offsets, strict=True)]
        np.testing.assert_allclose(vectors, expected_NLD, rtol=0, atol=2e-6)


def test_flat_files_name_their_layers(run_command: Any, model: Path, file: Path, tmp_path: Path) -> None:
    for layers, numbers in {"-1,0": [2, 0], "sum-all": [1, 2]}.items():
        assert run_command("features", model, file, "--out", tmp_path / "x.npz", f"--layers={layers}")[0] == 0
        with np.load(tmp_path / "x.npz") as flat:
            assert flat["layers"].tolist() == numbers


@pytest.mark.parametrize("name", ["texts.txt.gz", "texts.csv", "texts.jsonl", "texts.parquet", "-"])
def test_every_kind_of_file_is_read(
    run_command: Any, model: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, field = "".join(f"{text}\n" for text in TEXTS), "text"
    if name == "-":
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode()), encoding="utf-8"))
    elif name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(lines.encode()))
    elif name.endswith(".parquet"):
        field = "body"
        pyarrow.parquet.write_table(pyarrow.table({"other": [1, 2, 3], "body": TEXTS}), tmp_path / name)
    elif name.endswith(".csv"):
        field = "body"
        (tmp_path / name).write_text("number,body\n" + "".join(f'1,"{text}"\n' for text in TEXTS), encoding="utf-8")
    else:
        (tmp_path / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    given = name if name == "-" else tmp_path / name
    code, _, err = run_command("features", model, given, "--out", tmp_path / "x.jsonl", "--pool", "cls", "--field", field)
    assert code == 0, err
    assert [json.loads(line)["text"] for line in (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()] == TEXTS


@pytest.mark.parametrize(
    ("name", "content", "flags", "code", "message"),
    [
        ("a.txt", b"the cat\n", ["--layers", "3"], 2, "no layer 3; it has 0 (the embeddings) to 2"),
        ("a.txt", b"the cat\n", ["--layers", "concat-last-4"], 2, "the model has 2 layers"),
        ("a.txt", b"the cat\n", ["--words", "first", "--pool", "cls"], 2, "leave one out"),
        ("a.txt", b"the cat\n", ["--out", "found.csv"], 2, "it is one of .npz, .safetensors, .jsonl, .parquet"),
        ("a.txt", b"the cat\n", ["--max-length", "65"], 2, "max_length 65 is not between 3 and the 64 positions"),
        ("a.txt", b"", [], 1, "a.txt holds no rows"),
        ("a.txt", b"\n \n", [], 1, "a.txt holds no rows"),
        ("a.txt", b"the \xff\n", [], 1, "invalid UTF-8 at byte 4"),
        ("a.txt.gz", gzip.compress(b"the cat\n" * 999)[:-20], [], 1, "truncated or damaged"),
        ("a.csv", b"body\nthe cat\n", [], 1, "has no column 'text'; its columns are 'body'; choose one with --field"),
        ("a.jsonl", b'{"text": "the"}\n{"text": 3}\n', [], 1, "a.jsonl:2: the column 'text' holds 3 where text is expected"),
        ("a.parquet", b"PAR1 is what this is not", [], 1, "is not a Parquet file, or is damaged"),
        ("a.parquet.gz", b"", [], 1, "is not a Parquet file, or is damaged"),
        ("a.pdf", b"the cat\n", [], 1, "has no extension that says how to read it"),
    ],
)
def test_what_is_refused(
    run_command: Any, model: Path, tmp_path: Path, name: str, content: bytes, flags: list[str], code: int, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    out = [] if "--out" in flags else ["--out", tmp_path / "found.npz"]
    found, printed, err = run_command("features", model, tmp_path / name, *out, *flags)
    assert (found, printed) == (code, "") and "Traceback" not in err
    assert message in err[err.index("error: ") :]
    assert not list(tmp_path.glob("*found*"))


def test_the_file_that_is_read_is_not_replaced(run_command: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "the cat"}\n', encoding="utf-8")
    code, _, err = run_command("features", model, tmp_path / "a.jsonl", "--out", tmp_path / ".." / tmp_path.name / "a.jsonl")
    assert code == 2 and "a.jsonl is the file that is read; name another" in err
    assert (tmp_path / "a.jsonl").read_text(encoding="utf-8") == '{"text": "the cat"}\n'


def test_weights_that_are_no_numbers(run_command: Any, model: Path, file: Path, tmp_path: Path) -> None:
    broken = load_model(model)
    with torch.no_grad():
        broken.encoder.embeddings.norm.bias.fill_(torch.nan)
    save_model(broken, Tokenizer.load(model), tmp_path / "broken", "")
    code, _, err = run_command("features", tmp_path / "broken", file, "--out", tmp_path / "found.npz")
    assert code == 1 and "the model's vectors are NaN or infinite" in err
    assert not list(tmp_path.glob("*found*"))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_ctrl_c_leaves_nothing(
    run_command: Any, model: Path, file: Path, tmp_path: Path, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Iterator[Vectors]:
        yield _one()
        raise KeyboardInterrupt

    monkeypatch.setattr("bertsmith.cli.features_command._vectors", interrupted)
    code, _, err = run_command("features", model, file, "--out", tmp_path / f"found{extension}")
    assert code == 75 and "stopped; nothing was written" in err
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]


def _one(n_units: int = 3) -> Vectors:
    return Vectors(1, "abc", ["a"] * n_units, [(0, 1)] * n_units, np.ones((n_units, 1, 32), np.float32))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"found{extension}"
    path.write_text("old")
    with pytest.raises(RuntimeError), feature_file(path, Contents("tokens", Layers((1,)), (1, 32))) as writer:
        writer.write(_one())
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_parquet_comes_in_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_files, "_ROW_GROUP_BYTES", 1000)  # a text has 384
    with feature_file(tmp_path / "x.parquet", Contents("tokens", Layers((1,)), (1, 32))) as writer:
        for _ in range(10):
            writer.write(_one())
    found = pyarrow.parquet.ParquetFile(tmp_path / "x.parquet")
    assert found.metadata.num_rows == 30 and found.metadata.num_row_groups == 4
