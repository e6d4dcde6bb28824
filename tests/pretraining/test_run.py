"""What a run leaves behind, how long it is, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertsmith
from bertsmith.artifacts.directory import save_model
from bertsmith.batches.loader import PretrainingLoader
from bertsmith.batches.order import split_documents
from bertsmith.corpus.build import CorpusConfig, build_corpus
from bertsmith.corpus.store import Corpus
from bertsmith.errors import ArtifactError, BertsmithError, DivergedError, InputError, MismatchError, UsageError
from bertsmith.model.bert import Bert
from bertsmith.pretraining import loop
from bertsmith.pretraining.options import ExampleSettings, PretrainConfig
from bertsmith.pretraining.run import make_objective, pretrain, special_ids
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.schedule import LinearSchedule, StepClock

Run = Callable[..., PretrainConfig]
Records = Callable[[Path], list[dict[str, Any]]]


def corpus_of(text: str, tokenizer: Path, directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "text.txt").write_text(text, encoding="utf-8")
    out = directory / "corpus"
    build_corpus(CorpusConfig(files=[str(directory / "text.txt")], tokenizer=tokenizer, out=out, workers=1, sentences="lines"))
    return out


def test_a_run_learns_and_leaves_all_its_parts(toy_run: Run, records: Records, at: Any) -> None:
    shown = at(-1, lambda: None)
    config = toy_run(steps=60, optimisation={"learning_rate": 5e-3, "warmup": 0.1}, record={"evaluate_every": 25})
    final = pretrain(config, shown)
    assert final == config.out / "final" and shown.done == 60
    expected = {
        "config.toml",
        "digests.json",
        "environment.json",
        "metrics.jsonl",
        "report.html",
        "checkpoints",
        "final",
        ".lock",
    }
    assert {path.name for path in config.out.iterdir()} == expected
    assert PretrainConfig.from_toml(config.out / "config.toml") == config

    found = records(config.out)
    held_out = [record for record in found if record["kind"] == "held_out"]
    assert [record["step"] for record in held_out] == [0, 25, 50, 60]
    assert held_out[-1]["mlm_loss"] < held_out[0]["mlm_loss"] - 0.5
    for record in held_out:
        assert record["mlm_perplexity"] == pytest.approx(np.exp(record["mlm_loss"]))
    train = [record for record in found if record["kind"] == "train"]
    assert [record["step"] for record in train] == list(range(1, 61))
    assert all(record["loss"] == pytest.approx(record["mlm_loss"] + record["nsp_loss"]) for record in train)
    assert [record["tokens"] for record in train] == sorted(record["tokens"] for record in train)
    assert max(record["learning_rate"] for record in train) == pytest.approx(5e-3, rel=0.1)
    blanks = [record for record in found if record["kind"] == "blanks"]
    assert [record["step"] for record in blanks] == [0, 25, 50, 60]
    assert all(len(sentence["predictions"]) == 5 and sentence["answer"] for sentence in blanks[-1]["sentences"])

    model, tokenizer = bertsmith.load(final), bertsmith.Tokenizer.load(final)
    assert model.heads.masked_token and model.heads.next_sentence
    assert tokenizer.digest == Corpus.open(config.corpus).tokenizer_digest
    card = (final / "README.md").read_text()
    assert f"| mlm_loss | {held_out[-1]['mlm_loss']:.4f} |" in card and "| Steps | 60 |" in card
    assert str(config.corpus.parent) not in card and "base_model: model\n" in card and "datasets:\n- corpus\n" in card
    assert "type: mlm_loss\n" in card and f"value: {round(held_out[-1]['mlm_loss'], 6)}\n" in card
    environment = json.loads((config.out / "environment.json").read_text())
    assert environment["torch"] == torch.__version__ and environment["precision"] == "float32"


def test_the_final_loss_does_not_depend_on_what_is_recorded(toy_run: Run, tmp_path: Path) -> None:
    often = toy_run(out=str(tmp_path / "often"), record={"evaluate_every": 1, "save_every": 1, "log_every": 1})
    never = toy_run(out=str(tmp_path / "never"), record={"evaluate_every": 100, "save_every": 100, "log_every": 100})
    weights = [(pretrain(config) / "model.safetensors").read_bytes() for config in (often, never)]
    assert weights[0] == weights[1]


def test_two_seeds_differ(toy_run: Run, tmp_path: Path) -> None:
    runs = [toy_run(out=str(tmp_path / str(seed)), seed=seed, steps=2) for seed in (0, 1)]
    weights = [(pretrain(config) / "model.safetensors").read_bytes() for config in runs]
    assert weights[0] != weights[1]


def test_full_sentences_have_no_next_sentence_head(toy_run: Run, records: Records) -> None:
    config = toy_run(examples={"objective": "full-sentences"}, steps=3)
    model = bertsmith.load(pretrain(config))
    assert model.heads.masked_token and not model.heads.next_sentence
    assert not any(name.startswith("nsp") for record in records(config.out) for name in record)


def test_without_held_out_documents_nothing_is_measured(toy_run: Run, records: Records) -> None:
    config = toy_run(examples={"held_out": 0.0}, steps=3, record={"probes": ["the cat [MASK] the moon."]})
    final = pretrain(config)
    kinds = {record["kind"] for record in records(config.out)}
    assert kinds == {"train", "blanks"}
    assert "None were measured." in (final / "README.md").read_text()


def test_given_probes_are_filled(toy_run: Run, records: Records) -> None:
    config = toy_run(steps=1, record={"probes": ["the cat [MASK] the moon."]})
    pretrain(config)
    blanks = [record["sentences"] for record in records(config.out) if record["kind"] == "blanks"]
    assert [[sentence["text"] for sentence in sentences] for sentences in blanks] == [["the cat [MASK] the moon."]] * 2
    assert blanks[0][0]["answer"] is None


def test_dropout_of_the_model_unless_given(toy_run: Run, tmp_path: Path) -> None:
    for given, expected in ((None, 0.1), (0.0, 0.0), (0.3, 0.3)):
        settings = {} if given is None else {"dropout": given}
        config = toy_run(out=str(tmp_path / str(given)), steps=1, optimisation=settings)
        shape = json.loads((pretrain(config) / "config.json").read_text())
        assert shape["hidden_dropout_prob"] == shape["attention_probs_dropout_prob"] == expected


@pytest.mark.parametrize(("epochs", "accumulation"), [(2.0, 1), (1.5, 2)])
def test_the_length_of_epochs(
    toy_run: Run, monkeypatch: pytest.MonkeyPatch, epochs: float, accumulation: int, toy_directory: Path
) -> None:
    config = toy_run(steps=None, epochs=epochs, optimisation={"accumulation": accumulation})
    corpus = Corpus.open(toy_directory / "corpus")
    training, _ = split_documents(corpus, config.examples.held_out, 2)
    ids = special_ids(corpus.tokenizer())
    loader = PretrainingLoader(corpus, training, make_objective(config.examples), config.masking, ids, 512, config.seed)
    n_batches = [loader.n_batches(0), loader.n_batches(1)]
    clocks: list[Any] = []
    monkeypatch.setattr(loop.Loop, "run", lambda self, _state: clocks.append(self.clock))
    pretrain(config)
    whole = sum(n_batches) if epochs == 2.0 else n_batches[0] + round(n_batches[1] / 2)
    assert clocks == [StepClock(round(whole / accumulation))]


def test_a_budget_ends_the_run_and_brings_the_rate_down(
    toy_run: Run, monkeypatch: pytest.MonkeyPatch, records: Records
) -> None:
    """Every look at the clock takes a second, so the run is as long as a machine of that speed makes it."""
    now = iter(range(10**6))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(now)))
    config = toy_run(steps=None, budget="20s", record={"evaluate_every": 100, "save_every": 100})
    pretrain(config)
    train = [record for record in records(config.out) if record["kind"] == "train"]
    # Three looks a step: at its beginning, at its end, and after what follows it.
    assert len(train) == 10
    rates = [record["learning_rate"] for record in train]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] == pytest.approx(1e-3 * 0.1 / 0.99, rel=1e-6)


def test_too_high_a_rate_stops_the_run_and_names_the_last_good_checkpoint(toy_run: Run) -> None:
    config = toy_run(optimisation={"learning_rate": 1e6, "warmup": 0.5}, record={"save_every": 100})
    with pytest.raises(DivergedError) as caught:
        pretrain(config)
    assert "the loss at step 2 is" in str(caught.value)
    assert "no checkpoint was saved before it; begin a new run with a lower --learning-rate" in str(caught.value)
    assert not (config.out / "final").exists() and not (config.out / "checkpoints").exists()


def test_a_loss_that_explodes_later_leaves_the_checkpoint_before_it(toy_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = LinearSchedule.rate
    monkeypatch.setattr(LinearSchedule, "rate", lambda self, fraction: 1e6 if fraction > 0.5 else rate(self, fraction))
    config = toy_run(record={"save_every": 3})
    with pytest.raises(DivergedError) as caught:
        pretrain(config)
    assert "the loss at step 8 is" in str(caught.value)
    assert f"the last good checkpoint is {config.out / 'checkpoints' / 'step-6'};" in str(caught.value)
    assert sorted(path.name for path in (config.out / "checkpoints").iterdir()) == ["step-3", "step-6"]


def test_a_model_with_a_poisoned_weight_is_never_saved(
    toy_run: Run, toy_model: Callable[..., Bert], toy_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = toy_model()
    with torch.no_grad():
        model.encoder.layers[1].feed_forward_out.weight[3, 3] = float("nan")
    save_model(model, toy_tokenizer, tmp_path / "poisoned", "")
    config = toy_run(model=str(tmp_path / "poisoned"), record={"save_every": 1})
    with pytest.raises(DivergedError, match="the loss at step 1 is nan"):
        pretrain(config)
    assert not (config.out / "checkpoints").exists()


def test_going_on_from_a_model_starts_with_its_weights(toy_run: Run, toy_directory: Path) -> None:
    config = toy_run(steps=1, optimisation={"learning_rate": 1e-30, "weight_decay": 0.0})
    before, after = bertsmith.load(toy_directory / "model"), bertsmith.load(pretrain(config))
    for (name, ours), theirs in zip(before.named_parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-20, msg=name)


REFUSED: dict[str, tuple[dict[str, Any], type[BertsmithError], str]] = {
    "batch smaller than a sequence": (
        {"optimisation": {"batch_tokens": 40}},
        UsageError,
        "40 tokens do not work with sequences of up to 48",
    ),
    "longer than the positions": (
        {"examples": {"max_length": 65}},
        MismatchError,
        "--max-length 65 is beyond the 64 positions",
    ),
    "no such model": ({"model": "huge"}, ArtifactError, r"--model huge: neither a preset \(tiny, .*\) nor a model directory"),
    "two lengths": (
        {"epochs": 1.0},
        UsageError,
        r"exactly one of --steps, --epochs and --budget \(--steps and --epochs given\)",
    ),
    "no length": ({"steps": None}, UsageError, r"exactly one of --steps, --epochs and --budget \(none of them given\)"),
    "no duration": ({"steps": None, "budget": "soon"}, UsageError, "not 'soon'"),
    "probe without a blank": ({"record": {"probes": ["the cat."]}}, UsageError, "--probes 'the cat.': a probe has exactly one"),
    "probe too long": ({"record": {"probes": ["[MASK]" + " the" * 63]}}, UsageError, "at most 64 tokens"),
    "no corpus": ({"corpus": "/nowhere"}, ArtifactError, "/nowhere is not a directory"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_written(toy_run: Run, case: str) -> None:
    settings, kind, message = REFUSED[case]
    config = toy_run(**settings)
    with pytest.raises(kind, match=message):
        pretrain(config)
    assert not config.out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(toy_run: Run) -> None:
    with pytest.raises(UsageError, match="PyTorch finds no GPU here; use --device cpu"):
        pretrain(toy_run(machine={"device": "cuda"}))


def test_a_file_in_the_way(toy_run: Run) -> None:
    config = toy_run()
    config.out.write_text("a file")
    with pytest.raises(BertsmithError, match="a file is in the way"):
        pretrain(config)
    with pytest.raises(BertsmithError, match="a file is in the way"):
        pretrain(config.model_copy(update={"out": config.out / "below"}))


def test_a_corpus_of_another_tokenizer_than_the_models(toy_run: Run, toy_tokenizer: Tokenizer, tmp_path: Path) -> None:
    Tokenizer.build(toy_tokenizer.tokens, lowercase=False).save(tmp_path / "cased")
    corpus = corpus_of("the cat sees\n\n" * 50, tmp_path / "cased", tmp_path)
    with pytest.raises(MismatchError, match=r"made with another tokenizer than .*; make it anew with: bertsmith corpus"):
        pretrain(toy_run(corpus=str(corpus)))


def test_a_vocabulary_without_a_mask(toy_run: Run, toy_tokenizer: Tokenizer, tmp_path: Path) -> None:
    entries = [token for token in toy_tokenizer.tokens if token != "[MASK]"]
    Tokenizer.build(entries, lowercase=True).save(tmp_path / "maskless")
    corpus = corpus_of("the cat sees\n\n" * 50, tmp_path / "maskless", tmp_path)
    with pytest.raises(ArtifactError, match=r"vocabulary has no \[MASK\]"):
        pretrain(toy_run(corpus=str(corpus), model="tiny"))


@pytest.mark.parametrize("held_out", [0.0, 0.05])
def test_one_document_has_no_other_to_take_a_sentence_from(
    toy_run: Run, toy_directory: Path, tmp_path: Path, held_out: float
) -> None:
    corpus = corpus_of("the cat sees a song.\n" * 50, toy_directory / "tokenizer", tmp_path)
    with pytest.raises(InputError, match=r"the corpus has 1 document.*--objective full-sentences"):
        pretrain(toy_run(corpus=str(corpus), examples={"held_out": held_out}))
    settings = ExampleSettings(objective="full-sentences", max_length=48, held_out=0.0).model_dump()
    pretrain(toy_run(corpus=str(corpus), steps=2, examples=settings))


def test_in_a_thread_there_are_no_signals_to_take(toy_run: Run) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(pretrain, toy_run(steps=1)).result().is_dir()
