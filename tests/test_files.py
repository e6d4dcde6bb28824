"""Files and directories are whole or absent, whatever happens while they are written."""

import errno
import json
import os
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bertsmith import files
from bertsmith.errors import ArtifactError, BertsmithError, BusyError, DamagedError, StorageError


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_appears_whole_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in ("first", "second"):
        with files.atomic_file(path) as temporary:
            temporary.write_text(content)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == content
    assert names(path.parent) == ["file"]


def test_a_directory_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(StorageError, match="a directory is in the way"), files.atomic_file(tmp_path / "file"):
        pytest.fail("nothing is begun that cannot be kept")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_file_given_up_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), files.atomic_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["file"]


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    with files.atomic_directory(tmp_path / "a" / "b") as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "file").write_text("content")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "sub" / "file").read_text() == "content"
    assert names(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_directory_given_up_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), files.atomic_directory(tmp_path / "out") as temporary:
        (temporary / "file").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_an_empty_directory_is_replaced_and_one_that_holds_anything_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with files.atomic_directory(tmp_path / "out") as temporary:
        (temporary / "file").write_text("kept")
    for path in (tmp_path / "out", tmp_path / "out" / "file"):
        with pytest.raises(ArtifactError, match="exists already; choose another --out"), files.atomic_directory(path):
            pytest.fail("the body ran")
    assert (tmp_path / "out" / "file").read_text() == "kept"


def test_what_killed_processes_left_of_the_same_output_goes_and_nothing_else(tmp_path: Path) -> None:
    for left in (".out.17.partial", ".out.0123456789abcdef.partial", ".other.17.partial", ".out.keep"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "old").write_text("half")
    (tmp_path / ".out.18.partial").write_text("half")
    (tmp_path / ".out.19.partial").symlink_to(tmp_path / ".out.keep")
    with files.atomic_directory(tmp_path / "out") as temporary:
        assert re.fullmatch(r"\.out\.[0-9a-f]{16}\.partial", temporary.name)
        (temporary / "file").write_text("new")
        files.remove_leftovers(tmp_path)  # this one is held
    assert names(tmp_path) == [".out.19.partial", ".out.keep", "out"]
    assert names(tmp_path / "out") == ["file"]


def test_a_place_that_another_process_took_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, open_ = [], os.open

    def open_after_another_has_swept(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if str(path).endswith(".partial") and not opened:
            opened.append(path)
            files.remove_leftovers(tmp_path)
        return open_(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", open_after_another_has_swept)
    with files.atomic_file(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert opened and names(tmp_path) == ["file"]


def test_files_get_the_mode_that_the_process_gives_to_new_ones(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with files.atomic_directory(tmp_path / "out") as temporary:
            (temporary / "sub").mkdir()
            (temporary / "sub" / "secret").touch(mode=0o600)
        with files.atomic_file(tmp_path / "file") as temporary:
            temporary.touch(mode=0o600)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out/sub/secret", "file", "out")}
    assert modes == {"out/sub/secret": 0o640, "file": 0o640, "out": 0o750}


def test_a_pipe_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with files.atomic_file(tmp_path / "pipe") as temporary:
        temporary.write_text("through")
    assert os.read(reading, 100) == b"through"
    os.close(reading)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with files.atomic_file(Path("/dev/null")) as temporary:
        temporary.write_text("nothing")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_name_as_long_as_a_name_may_be(tmp_path: Path) -> None:
    with files.atomic_file(tmp_path / ("n" * 255)) as temporary:
        temporary.write_text("here")
    with (
        pytest.raises(StorageError, match="the name is too long; choose a shorter one"),
        files.atomic_file(tmp_path / ("n" * 256)),
    ):
        pytest.fail("the body ran")
    assert names(tmp_path) == ["n" * 255]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="a link is in the way"), files.exclusive(tmp_path):
        pytest.fail("the body ran")
    assert not (tmp_path / "elsewhere").exists()


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".step-3.17.partial" / "sub").mkdir(parents=True)
    (tmp_path / ".metrics.jsonl.17.partial").write_text("half")
    for kept in ("corpus.partial", ".lock", "step-3"):
        (tmp_path / kept).write_text("")
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".lock", "corpus.partial", "step-3"]
    files.remove_leftovers(tmp_path / "nowhere")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes: for the shortest time, since the limit holds for the output of the tests as well."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_does_not_fit_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(StorageError, match=f"^cannot write {tmp_path}/file: the file would be larger"):  # noqa: SIM117
        with files.atomic_file(tmp_path / "file") as temporary:
            temporary.write_text("x" * 101)
    with full_disk(), pytest.raises(StorageError, match=f"^cannot write {tmp_path}/out: the file would be larger"):  # noqa: SIM117
        with files.atomic_directory(tmp_path / "out") as temporary:
            (temporary / "file").write_text("x" * 101)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EPERM, "not permitted"),
    ],
)
def test_refusals_of_the_system_are_explained(code: int, reason: str) -> None:
    with pytest.raises(StorageError, match=f"^cannot write here: {reason}"), files.storage_errors(Path("here")):
        raise OSError(code, "whatever")


def test_other_errors_of_the_system_pass() -> None:
    with pytest.raises(FileNotFoundError), files.storage_errors(Path("here")):
        raise FileNotFoundError(errno.ENOENT, "whatever")


@pytest.mark.parametrize("below", ["", "sub"])
def test_a_file_where_a_directory_should_be(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file is in the way"), files.exclusive(tmp_path / "file" / below):
        pytest.fail("the body ran")


@pytest.fixture
def manifested(tmp_path: Path) -> Path:
    directory = tmp_path / "made"
    (directory / "sub").mkdir(parents=True)
    (directory / "a").write_text("content of a")
    (directory / "sub" / "b").write_bytes(bytes(range(256)) * 8192)  # more than is read at a time
    files.write_manifest(directory, "thing", {"n": 3})
    return directory


def test_a_manifest_says_what_is_there(manifested: Path) -> None:
    manifest = files.read_manifest(manifested, "thing")
    assert (manifest["kind"], manifest["n"]) == ("thing", 3)
    assert {name: entry["bytes"] for name, entry in manifest["files"].items()} == {"a": 12, "sub/b": 2 << 20}
    advanced: list[float] = []
    files.verify_manifest(manifested, manifest, advanced.append)
    assert sum(advanced) == 12 + (2 << 20)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda made: (made / "a").unlink(), "a is missing though manifest.json lists it"),
        (lambda made: os.truncate(made / "sub" / "b", 5), r"b has 5 bytes where manifest.json says 2097152"),
        (lambda made: (made / "a").write_text("longer than before"), "a has 18 bytes"),
        (lambda made: flip(made / "sub" / "b"), "b is altered"),
    ],
)
def test_every_damage_is_found_and_named(manifested: Path, damage: Callable[[Path], object], message: str) -> None:
    manifest = files.read_manifest(manifested, "thing")
    damage(manifested)
    with pytest.raises(DamagedError, match=message):
        files.verify_manifest(manifested, manifest)


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (None, ArtifactError, "is not a thing directory: it has no manifest.json"),
        ('{"kind": "other", "format": 1, "files": {}}', ArtifactError, "is a other directory; a thing directory is needed"),
        (
            '{"kind": "thing", "format": 2, "files": {}}',
            ArtifactError,
            "has format 2; this version of bertsmith reads format 1",
        ),
        ('{"kind": "thing", "format": 1}', DamagedError, "does not list its files"),
        ('{"kind": "thing", "format": 1, "files": {"a": 3}}', DamagedError, "does not list its files"),
        ('{"kind": "thing"', DamagedError, "is not valid JSON"),
        ("[1]", DamagedError, "holds a list where a JSON object is expected"),
        ("[" * 100_000, DamagedError, "is not valid JSON"),
        ("1" * 5000, DamagedError, "is not valid JSON"),
    ],
)
def test_manifests_that_are_none(tmp_path: Path, content: str | None, kind: type[BertsmithError], message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(kind, match=message):
        files.read_manifest(tmp_path, "thing")


def test_no_directory_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere is not a directory"):
        files.read_manifest(tmp_path / "nowhere", "thing")


def test_a_manifest_cannot_point_outside(manifested: Path) -> None:
    manifest = files.read_manifest(manifested, "thing")
    manifest["files"]["../secret"] = {"bytes": 6, "sha256": files.sha256(manifested / "a")}
    (manifested.parent / "secret").write_text("secret")
    with pytest.raises(DamagedError, match=r"names a file outside its directory: \.\./secret"):
        files.verify_manifest(manifested, manifest)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "\ud800", "/etc/passwd", "a/../../b", "nowhere"])
def test_a_manifest_with_names_that_cannot_be(manifested: Path, name: str) -> None:
    manifest = files.read_manifest(manifested, "thing")
    manifest["files"][name] = {"bytes": 6, "sha256": "0"}
    with pytest.raises(ArtifactError):
        files.verify_manifest(manifested, manifest)


@pytest.mark.parametrize("entry", [{"bytes": "1", "sha256": "0"}, {"bytes": 1, "sha256": 0}, {"bytes": True, "sha256": "0"}, 1])
def test_a_manifest_with_entries_of_other_types(manifested: Path, entry: object) -> None:
    manifest = files.read_sealed(manifested / "manifest.json")
    manifest["files"]["a"] = entry
    (manifested / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamagedError, match="does not list its files with bytes and sha256"):
        files.read_manifest(manifested, "thing")


def test_json_keeps_order_and_text(tmp_path: Path) -> None:
    value = {"b": "北京", "a": [1, 2.5, None]}
    files.write_json(tmp_path / "value.json", value)
    assert "北京" in (tmp_path / "value.json").read_text(encoding="utf-8")
    assert list(files.read_json(tmp_path / "value.json").items()) == list(value.items())


def test_json_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere\.json does not exist"):
        files.read_json(tmp_path / "nowhere.json")
    with pytest.raises(ArtifactError, match=r"cannot read .*: Is a directory"):
        files.read_json(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(DamagedError, match=r"latin\.json is not valid JSON"):
        files.read_json(tmp_path / "latin.json")


HOLD = """
import os, sys
from pathlib import Path
from bertsmith.files import exclusive
with exclusive(Path(sys.argv[1])):
    os._exit(3)  # dies while it holds the directory
"""


def test_only_one_process_holds_a_directory_and_one_that_dies_lets_go(tmp_path: Path) -> None:
    attempt = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with files.exclusive(tmp_path / "run"):
        with pytest.raises(BusyError, match="another process is writing into"), files.exclusive(tmp_path / "run"):
            pytest.fail("the body ran")
        refused = subprocess.run(attempt, capture_output=True, text=True, check=False)
        assert refused.returncode == 1 and "BusyError" in refused.stderr
    assert subprocess.run(attempt, check=False).returncode == 3
    with files.exclusive(tmp_path / "run"):
        pass


@pytest.mark.parametrize(
    ("old", "new"), [('"n": 3', '"n": 2'), ('"kind"', '"kino"'), ('"n"', '"m"'), ('"bytes": 12', '"bytes": 13')]
)
def test_facts_that_were_altered_are_found(manifested: Path, old: str, new: str) -> None:
    path = manifested / "manifest.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DamagedError, match=r"manifest\.json is altered: its seal is not that of what stands in it"):
        files.read_manifest(manifested, "thing")


def test_a_manifest_of_an_earlier_version_has_no_seal(manifested: Path) -> None:
    values = json.loads((manifested / "manifest.json").read_text())
    del values["seal"]
    (manifested / "manifest.json").write_text(json.dumps(values))
    assert files.read_manifest(manifested, "thing")["n"] == 3


def test_digests_of_single_files(tmp_path: Path) -> None:
    files.check_digests(tmp_path)
    (tmp_path / "a").write_text("all of it")
    files.write_digests(tmp_path, ["a", "absent"])
    files.check_digests(tmp_path)
    (tmp_path / "a").write_text("all of If")
    with pytest.raises(DamagedError, match=r"a is altered: its SHA-256 is not the one in digests\.json"):
        files.check_digests(tmp_path)
