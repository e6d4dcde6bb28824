"""Models of the hub by their address: fetched into the hub's cache, or one error; a bare name says how to write one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertsmith.artifacts.directory import load_model, save_model
from bertsmith.errors import ArtifactError, BertsmithError, DamagedError, UsageError
from bertsmith.hub import fetch, name_in_cache
from bertsmith.model.bert import PRETRAINING
from bertsmith.text.tokenizer import Tokenizer

huggingface_hub = pytest.importorskip("huggingface_hub")


class Hub:
    """Stands for ``snapshot_download``: keeps what it was asked for, and gives the snapshot of one model."""

    def __init__(self, snapshot: Path) -> None:
        self.snapshot, self.asked = snapshot, list[tuple[str, str | None, list[str]]]()

    def __call__(
        self, name: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str] | None = None
    ) -> str:
        assert ignore_patterns is None or "onnx/*" in ignore_patterns
        self.asked.append((name, revision, allow_patterns))
        if name != "owner/tiny":
            raise FileNotFoundError("\n404 Client Error.\nRepository Not Found")
        return str(self.snapshot)


@pytest.fixture
def hub(tmp_path: Path, random_model: Callable[..., Any], tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Hub:
    snapshot = tmp_path / "models--owner--tiny" / "snapshots" / "0123abc"
    save_model(random_model(PRETRAINING), tiny_tokenizer, snapshot)
    hub = Hub(snapshot)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    return hub


def test_a_model_is_fetched_by_name_and_revision(hub: Hub) -> None:
    assert fetch("hub:owner/tiny") == fetch("hub:owner/tiny@refs/pr/1") == hub.snapshot
    assert [(name, revision) for name, revision, _ in hub.asked] == [("owner/tiny", None), ("owner/tiny", "refs/pr/1")]
    assert "*.safetensors" in hub.asked[0][2] and not any("bin" in pattern for pattern in hub.asked[0][2])


def test_a_snapshot_of_links_is_a_model_directory(hub: Hub) -> None:
    blobs = hub.snapshot.parents[1] / "blobs"
    blobs.mkdir()
    for number, file in enumerate(sorted(hub.snapshot.iterdir())):
        file.rename(blobs / str(number))
        file.symlink_to(f"../../blobs/{number}")
    assert load_model(fetch("hub:owner/tiny")).heads == PRETRAINING
    (blobs / "0").write_bytes(b"{}")
    with pytest.raises(DamagedError, match="truncated or altered"):
        load_model(hub.snapshot)


def test_pickles_are_fetched_where_there_is_nothing_else(hub: Hub) -> None:
    (hub.snapshot / "model.safetensors").unlink()
    fetch("hub:owner/tiny@main")
    assert [revision for _, revision, _ in hub.asked] == ["main", "main"]
    assert hub.asked[1][2] == ["pytorch_model*.bin*"]


@pytest.mark.usefixtures("hub")
def test_commands_take_addresses_for_directories(run_command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, err = run_command("fill", "hub:owner/tiny@v1", "a [MASK]")
    assert (code, err) == (0, "") and "a [MASK]" in out
    assert run_command("info", "hub:owner/tiny")[0] == 0
    text = tmp_path / "text.txt"
    text.write_text("a b c. d e f.\n\ng h i. j k l.\n" * 20)
    assert run_command("corpus", text, "--tokenizer", "hub:owner/tiny", "--out", tmp_path / "corpus")[0] == 0
    code, out, _ = run_command("pretrain", "--corpus", tmp_path / "c", "--model", "hub:owner/tiny", "--out", "x", "--dry-run")
    assert code == 0 and 'model = "hub:owner/tiny"' in out


@pytest.mark.parametrize("address", ["hub:", "hub:a/b/c", "hub:a b", "hub:a@", "hub:../x/y"])
def test_addresses_that_name_nothing(hub: Hub, address: str) -> None:
    with pytest.raises(UsageError, match="does not say which model is meant; write hub:NAME or hub:NAME@REVISION"):
        fetch(address)
    assert not hub.asked


def test_what_cannot_be_fetched_is_one_line(hub: Hub, run_command: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = run_command("info", "hub:owner/gone")
    assert code == 1
    assert err.startswith("error: cannot fetch hub:owner/gone: 404 Client Error; check the name and the network")
    assert err.count("\n") == 1 and len(hub.asked) == 1


def test_the_package_that_fetches_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"needs the huggingface_hub package: pip install 'bertsmith\[hub\]'"):
        fetch("hub:owner/tiny")


@pytest.mark.parametrize("use", [load_model, Tokenizer.load])
def test_a_bare_name_says_how_to_get_the_model(
    use: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("bert-base-uncased", "google-bert/bert-base-uncased"):
        with pytest.raises(ArtifactError, match=f"write hub:{name} on the command line, which fetches it"):
            use(name)
    with pytest.raises(ArtifactError, match=r"in Python, bertsmith\.hub\.fetch\('hub:owner/tiny'\) gives the directory"):
        use("hub:owner/tiny")
    (tmp_path / "runs").mkdir()
    for place in ("runs/final", "/nowhere/at/all"):
        with pytest.raises(BertsmithError) as caught:
            use(place)
        assert "hub" not in str(caught.value)


def test_a_model_to_train_says_so_too(
    run_command: Callable[..., tuple[int, str, str]], toy_directory: Path, tmp_path: Path
) -> None:
    train = tmp_path / "train.csv"
    train.write_text("text,label\na,x\nb,y\n")
    for command in (
        ["finetune", "classify", "--train", train, "--out", tmp_path / "run"],
        ["pretrain", "--corpus", toy_directory / "corpus", "--steps", "1", "--out", tmp_path / "run"],
    ):
        code, _, err = run_command(*command, "--model", "bert-base-uncased")
        assert code == 1 and "write hub:bert-base-uncased on the command line" in err


def test_the_name_of_a_model_in_the_cache(hub: Hub) -> None:
    assert name_in_cache(hub.snapshot) == "owner/tiny"
    assert name_in_cache(Path("/x/models--bert-base-uncased/snapshots/1")) == "bert-base-uncased"
    assert name_in_cache(hub.snapshot.parents[2]) is None
