"""Files are found by name, in folders and by globs, and what names nothing is said."""

from pathlib import Path

import pytest

from bertsmith.errors import InputError
from bertsmith.sources.file_patterns import find_files


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_find_files_in_folders_globs_and_by_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    names = ["b.txt", "a.jsonl.gz", "sub/c.parquet", "sub/d.csv.zst", "sub/e.tsv.xz"]
    for name in [*names, "ignored.md", ".hidden.txt", "f.gz", "settings.json"]:
        write(tmp_path / name, "x")
    everything = sorted(tmp_path / name for name in names)
    assert find_files([str(tmp_path)]) == everything
    assert find_files([str(tmp_path / "**" / "*.*")]) == everything
    assert find_files([str(tmp_path / "b.txt"), str(tmp_path / "sub" / ".." / "b.txt"), str(tmp_path)]) == everything
    assert find_files([str(tmp_path / "su*")]) == sorted(tmp_path / name for name in names[2:])
    for pattern in ("settings.json", "*.json"):
        assert find_files([str(tmp_path / pattern)]) == [tmp_path / "settings.json"]


def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    assert find_files([str(write(tmp_path / "a[1].txt", "x"))]) == [tmp_path / "a[1].txt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.txt", r"none\.txt does not exist"),
        ("*.txt", r"\*\.txt matches no file"),
        ("page.md", r"page\.md has no extension that says how to read it: known are \.txt \.jsonl"),
        ("*.md", r"\*\.md holds no file that is read here: \.txt \.jsonl"),
        ("empty", "empty holds no file that is read here"),
    ],
)
def test_patterns_that_name_nothing(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "page.md", "x")
    with pytest.raises(InputError, match=message):
        find_files([str(tmp_path / name)])
    with pytest.raises(InputError, match="no input files"):
        find_files([])


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.txt", "x")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match=r"cannot read .*a\.txt: permission denied"):
        find_files([str(tmp_path)])
