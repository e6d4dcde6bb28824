"""The demo: documentation strings to filled blanks."""

import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from bertsmith import demo as demonstration
from bertsmith.errors import UsageError
from bertsmith.progress import SILENT

MODULE = '''"""The first sentence of a module is here. The second sentence follows it.

    >>> not_prose()

short one.
"""

class Thing:
    """A thing that has a documentation string of its own."""

def function():
    """The first sentence of a module is here. The second sentence follows it."""

def strange():
    """A sentence with a NUL byte \\0 in it, which no text file may have."""
'''


def test_sentences_of_documentation_strings_become_a_document_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [tmp_path / "good.py", tmp_path / "broken.py", tmp_path / "silent.py"]
    for source, text in zip(sources, (MODULE, "def broken(:", "x = 1"), strict=True):
        source.write_text(text, encoding="utf-8")
    monkeypatch.setattr(demonstration, "_sources", lambda: iter(sources))
    assert demonstration.write_docstrings(tmp_path / "text.txt") == 1
    assert (tmp_path / "text.txt").read_text(encoding="utf-8") == (
        "The first sentence of a module is here. The second sentence follows it.\n"
        "A thing that has a documentation string of its own.\n\n"
    )


def test_the_demo_goes_the_whole_way_and_again_goes_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few_sources() -> Iterator[Path]:
        return islice(iter(sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))), 60)

    monkeypatch.setattr(demonstration, "_sources", few_sources)
    said: list[str] = []
    run = demonstration.demo(tmp_path / "demo", "1s", said.append, SILENT)
    assert (run / "final" / "model.safetensors").exists()
    assert (run / "report.html").exists()
    assert [line[:2] for line in said[:4]] == ["1.", "2.", "3.", "4."]
    blanks = [line.split()[0] for line in said if line.startswith("    ")]
    assert blanks == ["before", "after"] * 5
    said.clear()
    demonstration.demo(tmp_path / "demo", "1s", said.append, SILENT)
    assert said[0].startswith("4.")


def test_a_budget_that_is_no_time_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not 'soon'"):
        demonstration.demo(tmp_path / "demo", "soon", print, SILENT)
    assert not (tmp_path / "demo").exists()
