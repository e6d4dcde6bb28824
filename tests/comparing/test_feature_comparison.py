"""Feature-based training against fine-tuning: the cache, the tagger, the table, and what is found again."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.comparing import feature_comparison as module
from bertsmith.comparing.feature_based import BiLstm, TaggedVectors, score_tagger, train_tagger
from bertsmith.comparing.feature_cache import cached_vectors
from bertsmith.comparing.feature_comparison import CompareFeaturesConfig, compare_features
from bertsmith.engine.engine import Engine
from bertsmith.errors import BusyError, DamagedError, Interrupted, MismatchError, UsageError
from bertsmith.files import exclusive
from bertsmith.inference.features import FeaturePipeline
from bertsmith.model.mixing import Layers
from bertsmith.progress import SILENT
from bertsmith.tasks.files.tagged import TagColumns
from bertsmith.tasks.kinds.tag import Tag
from bertsmith.text.tokenizer import Tokenizer

CPU = torch.device("cpu")
ANIMALS = ("cat", "dog", "bird")
TASK = Tag(labels=("O", "B-ANIMAL", "I-ANIMAL"), scheme="iob2", units="words", max_length=16, stride=8)


def write_tags(path: Path, n_sentences: int, seed: int = 0) -> Path:
    """Write sentences in which animals, with the word before them, are entities, and moons and songs are not."""
    draw, lines = random.Random(seed), []
    for _ in range(n_sentences):
        for _ in range(draw.randint(1, 6)):
            noun = draw.choice([*ANIMALS, "moon", "song"])
            tags = ("B-ANIMAL", "I-ANIMAL") if noun in ANIMALS else ("O", "O")
            lines += [f"{draw.choice(['the', 'a'])} {tags[0]}", f"{noun} {tags[1]}", f"{draw.choice(['sees', 'finds'])} O"]
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for seed, (name, n_sentences) in enumerate({"train": 60, "dev": 15, "test": 15}.items()):
        write_tags(tmp_path / f"{name}.conll", n_sentences, seed)
    return tmp_path


@pytest.fixture
def cached(toy_directory: Path, files: Path) -> Callable[..., TaggedVectors]:
    """Read or make the cache of a file."""

    def vectors(
        file: str = "train",
        model: Path = toy_directory / "model",
        cache: str = "cache",
        task: Tag = TASK,
        dtype: torch.dtype = torch.float32,
    ) -> TaggedVectors:
        path = files / f"{file}.conll"
        examples = list(task.read(path, labelled=True))
        found = cached_vectors(files / cache, model, examples, task, CPU, dtype, SILENT)
        return TaggedVectors(examples, found)

    return vectors


def test_the_cache_holds_every_layer_of_first_word_pieces(cached: Any, toy_directory: Path) -> None:
    data = cached()
    model = load_model(toy_directory / "model")
    pipe = FeaturePipeline(Engine(model, CPU, "float32"), Tokenizer.load(toy_directory / "model"), Layers((0, 1, 2)), 16, 8)
    texts = [" ".join(example.words) for example in data.examples]
    assert max(len(example.words) for example in data.examples) > 14
    expected = np.concatenate([found.words("first")[1] for found in pipe(texts)], axis=1)
    assert data.vectors.dtype == np.float16 and isinstance(data.vectors, np.memmap)
    np.testing.assert_allclose(data.vectors.swapaxes(0, 1), expected, rtol=1e-3, atol=1e-3)


def test_a_cache_is_computed_once(cached: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.array(cached().vectors)
    monkeypatch.setattr("bertsmith.comparing.feature_cache._compute", None)
    np.testing.assert_array_equal(cached().vectors, first)


def test_caches_refused(cached: Any, files: Path, toy_directory: Path) -> None:
    cached()
    with pytest.raises(
        MismatchError, match=r"cache was made otherwise: text is another one now; remove .*cache to have it made again"
    ):
        cached("dev")
    with pytest.raises(MismatchError, match=r"max_length was \d+, is now \d+; remove"):
        cached(task=TASK.model_copy(update={"max_length": 32}))
    with pytest.raises(MismatchError, match=r"precision was '.*', is now '.*'; remove"):
        cached(dtype=torch.bfloat16)
    other = files / "other"
    save_model(load_model(toy_directory / "model", seed=3), Tokenizer.load(toy_directory / "model"), other, "another\n")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "manifest.json").unlink(missing_ok=True)
    (other / "model.safetensors").write_bytes(weights)
    with pytest.raises(MismatchError, match="model is another one now; remove"):
        cached(model=other)
    file = files / "cache" / "vectors.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DamagedError, match=r"vectors\.npy has .* truncated or altered; remove .*cache to have it made again"):
        cached()


def test_a_cache_is_of_the_words_wherever_they_stand(cached: Any, files: Path) -> None:
    (files / "lemmas.conll").write_text("cats cat O\nsees see O\n\n", encoding="utf-8")
    (files / "moved.conll").write_text("cats O\nsees O\n", encoding="utf-8")
    first = np.array(cached("lemmas").vectors)
    np.testing.assert_array_equal(cached("moved").vectors, first)
    with pytest.raises(MismatchError, match="text is another one now"):
        cached("lemmas", task=TASK.model_copy(update={"columns": TagColumns(word_column=2)}))


def test_what_a_killed_process_left_of_a_cache_is_removed(cached: Any, files: Path) -> None:
    (files / ".cache.1.partial").mkdir()
    with exclusive(files), pytest.raises(BusyError, match="another process is writing into"):
        cached()
    cached()
    assert not (files / ".cache.1.partial").exists()


@pytest.mark.parametrize(("layers", "is_mixed"), [("0", False), ("concat-last-2", False), ("0,1,2", True)])
def test_a_tagger_learns(cached: Any, layers: str, is_mixed: bool) -> None:
    settings = BiLstm(width=16, depth=1, dropout=0.1, lr=0.03, epochs=5, batch_size=8)
    tagger = train_tagger(cached(), TASK, Layers.parse(layers, 2), is_mixed, settings, 0, CPU, SILENT)
    assert score_tagger(tagger, cached("test", cache="other-cache"), TASK, CPU)["f1"] > 0.95
    if tagger.mix is not None:
        assert tagger.mix.scores.detach().std() > 0


def test_a_tagger_is_determined_by_its_seed(cached: Any) -> None:
    data, settings = cached(), BiLstm(width=8, epochs=1)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, again, other = (train_tagger(data, TASK, Layers((0, 1)), True, settings, seed, CPU, SILENT) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


@pytest.fixture
def comparison(toy_directory: Path, files: Path) -> Callable[..., CompareFeaturesConfig]:
    def make(**changes: Any) -> CompareFeaturesConfig:
        values = {
            "model": str(toy_directory / "model"),
            **{name: str(files / f"{name}.conll") for name in ("train", "dev", "test")},
            "out": str(files / "run"),
            "variants": ["embeddings", "scalar-mix", "fine-tuned"],
            "seeds": 2,
            "finetune_lr": [1e-3],
            "finetune_epochs": [1.0],
            "task": {"max_length": 16, "stride": 8},
            "tagger": {"width": 8, "depth": 1, "epochs": 2, "lr": 0.02},
            "machine": {"device": "cpu", "precision": "float32"},
        }
        return CompareFeaturesConfig.from_values({**values, **changes}, "test")

    return make


def test_a_comparison_and_what_is_found_again(comparison: Any, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = compare_features(comparison())
    assert [(row.variant, row.n_seeds) for row in rows] == [("embeddings", 2), ("scalar-mix", 2), ("fine-tuned", 2)]
    table = (files / "run" / "table.md").read_text(encoding="utf-8").splitlines()
    assert table[0] == "|  | dev F1 | test F1 | seeds |" and len(table) == 5
    found = json.loads((files / "run" / "table.json").read_text(encoding="utf-8"))
    assert found["metric"] == "f1" and found["variants"][0]["dev"]["f1"]["mean"] == rows[0].spreads["dev"]["f1"].mean

    trained = []
    train = module.train_tagger
    monkeypatch.setattr(module, "train_tagger", lambda *given: trained.append(given[5]) or train(*given))
    monkeypatch.setattr(module, "finetune", None)
    more = compare_features(comparison(seeds=3, variants=["scalar-mix", "last"]))
    assert trained == [2, 0, 1, 2] and [row.n_seeds for row in more] == [3, 3]
    with pytest.raises(MismatchError, match=r"tagger\.width was 8, is now 16\n.* a new run with another --out"):
        compare_features(comparison(tagger={"width": 16, "depth": 1, "epochs": 2, "lr": 0.02}))


def test_stopped_in_the_middle(comparison: Any, files: Path, monkeypatch: pytest.MonkeyPatch, run_command: Any) -> None:
    train = module.train_tagger

    def interrupted(*given: Any) -> Any:
        if given[5] == 1:
            raise KeyboardInterrupt
        return train(*given)

    with monkeypatch.context() as patched, pytest.raises(Interrupted, match="goes on behind the last result"):
        patched.setattr(module, "train_tagger", interrupted)
        compare_features(comparison(variants=["last"]))
    code, out, _ = run_command("info", files / "run")
    assert (code, out) == (0, "kind: comparison\nvariants: none\n")
    resumed = compare_features(comparison(variants=["last"]))
    undisturbed = compare_features(comparison(variants=["last"], out=str(files / "other-run")))
    assert resumed == undisturbed


def test_results_that_are_damaged(comparison: Any, files: Path) -> None:
    config = comparison(variants=["last"], seeds=1)
    compare_features(config)
    path = files / "run" / "results" / "last" / "seed-0.json"
    path.write_text('{"variant": "last"', encoding="utf-8")
    with pytest.raises(DamagedError, match=r"seed-0\.json is not valid JSON.*; remove .* and run the same command again"):
        compare_features(config)
    path.write_text('{"variant": "last"}', encoding="utf-8")
    with pytest.raises(DamagedError, match="lacks the f1 on the dev set"):
        compare_features(config)


def test_what_is_refused(comparison: Any, files: Path, run_command: Any) -> None:
    with pytest.raises(UsageError, match="sum-last-4: the model has 2 layers"):
        compare_features(comparison(variants=["sum-last-4"]))
    assert not (files / "run").exists()
    with pytest.raises(UsageError, match="--max-length 65 is beyond the 64 positions"):
        compare_features(comparison(task={"max_length": 65}))
    assert not (files / "run").exists()
    with pytest.raises(UsageError, match="--decoder is the same for all"):
        comparison(task={"decoder": "crf"})
    with pytest.raises(UsageError, match="variants"):
        comparison(variants=["first"])
    code, _, err = run_command("compare", "feature")
    assert code == 2 and "did you mean 'features'?" in err


def test_the_command_prints_the_table(comparison: Any, files: Path, run_command: Any) -> None:
    config = comparison(variants=["last"], seeds=1)
    (files / "run.toml").write_text(config.to_toml(), encoding="utf-8")
    code, out, err = run_command("compare", "features", "--config", files / "run.toml")
    assert code == 0 and out.startswith("|  | dev F1 | test F1 | seeds |\n| --- | ---: | ---: | ---: |\n| last | "), err
    code, out, _ = run_command("info", files / "run")
    assert code == 0 and out.startswith("kind: comparison\nvariants:\n  last:\n    seeds: 1\n"), out
    (files / "run" / "table.json").write_text('{"variants": [3]}', encoding="utf-8")
    code, out, err = run_command("info", files / "run")
    assert (code, out) == (1, "") and "table.json is not what bertsmith compare writes" in err
    code, out, _ = run_command("info", files / "run" / "features" / "dev")
    assert code == 0 and out.startswith("kind: feature cache\n"), out
    assert run_command("compare", "--help")[0] == 0 and run_command("compare")[0] == 2
