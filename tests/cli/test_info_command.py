"""``bertsmith info`` on every kind of directory."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertsmith.pretraining.options import PretrainConfig
from bertsmith.pretraining.run import pretrain
from bertsmith.text.vocabulary import VocabularyConfig, build_vocabulary


def facts_of(run_command: Any, path: Path) -> dict[str, Any]:
    code, out, err = run_command("info", path, "--json")
    assert (code, err) == (0, "")
    facts: dict[str, Any] = json.loads(out)
    return facts


def test_vocabulary(run_command: Any, tmp_path: Path, toy_directory: Path) -> None:
    build_vocabulary(VocabularyConfig(files=[str(toy_directory / "text.txt")], out=tmp_path / "vocabulary", size=100))
    facts = facts_of(run_command, tmp_path / "vocabulary")
    assert facts["kind"] == "vocabulary" and "files" not in facts


def test_corpus(run_command: Any, toy_directory: Path) -> None:
    facts = facts_of(run_command, toy_directory / "corpus")
    assert (facts["kind"], facts["n_documents"]) == ("corpus", 300)


def test_model(run_command: Any, toy_directory: Path) -> None:
    facts = facts_of(run_command, toy_directory / "model")
    assert facts["kind"] == "model"
    assert facts["heads"] == ["masked_token", "next_sentence"]
    assert (facts["n_layers"], facts["width"], facts["lowercase"]) == (2, 32, True)


def test_a_model_with_a_head_of_another_tool(run_command: Any, toy_directory: Path, tmp_path: Path) -> None:
    path = shutil.copytree(toy_directory / "model", tmp_path / "model")
    (path / "manifest.json").unlink()
    config = json.loads((path / "config.json").read_text()) | {"architectures": ["BertForJointScoring"]}
    (path / "config.json").write_text(json.dumps(config))
    code, out, err = run_command("info", path, "--json")
    assert (code, json.loads(out)["heads"], json.loads(out)["n_layers"]) == (0, [], 2)
    assert err.count("\n") == 1 and "BertForJointScoring" in err and "the encoder alone" in err


def test_a_run_its_checkpoint_and_its_model(
    run_command: Any, toy_run: Callable[..., PretrainConfig], at: Any, crash_at: Any, crash: type[BaseException]
) -> None:
    config = toy_run(steps=6)

    def look() -> None:
        facts = facts_of(run_command, config.out)
        assert (facts["kind"], facts["state"], facts["checkpoints"]) == ("run", "unfinished", ["step-4"])

    with pytest.raises(crash):
        pretrain(config, crash_at(3))
    with (config.out / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "tra')  # as a kill would leave it
    assert facts_of(run_command, config.out)["last_step"]["step"] == 3
    pretrain(config, at(5, look))
    facts = facts_of(run_command, config.out)
    assert (facts["state"], facts["last_step"]["step"], facts["last_held_out"]["step"]) == ("finished", 6, 6)
    checkpoint = facts_of(run_command, config.out / "checkpoints" / "step-4")
    assert (checkpoint["kind"], checkpoint["step"]) == ("checkpoint", 4) and checkpoint["tokens"] > 1000
    assert facts_of(run_command, config.out / "final")["kind"] == "model"


def test_to_read(run_command: Any, toy_directory: Path) -> None:
    code, out, _ = run_command("info", toy_directory / "corpus")
    assert code == 0
    assert out.splitlines()[0] == "kind: corpus" and "n documents: 300" in out


@pytest.mark.parametrize("name", ["nowhere", "file", "empty"])
def test_what_is_no_directory_of_ours(run_command: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    code, out, err = run_command("info", tmp_path / name)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {tmp_path / name} is n") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "kind"),
    [('corpus = "c"', "run"), ('train = "a.csv"', "fine-tuning run"), ('variants = ["last"]', "comparison")],
)
def test_a_run_that_has_only_begun(run_command: Any, tmp_path: Path, settings: str, kind: str) -> None:
    (tmp_path / "config.toml").write_text(settings, encoding="utf-8")
    (tmp_path / "environment.json").write_text("{}", encoding="utf-8")
    assert facts_of(run_command, tmp_path)["kind"] == kind
