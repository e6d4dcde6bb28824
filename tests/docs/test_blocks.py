"""The blocks of code in the pages that users read: their types are right."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True, slots=True)
class Block:
    """Code between two fences: its language, what it says, and the line of the page that it begins in."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    content = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", content, re.MULTILINE | re.DOTALL):
        yield Block(found[1], found[2], content.count("\n", 0, found.start(2)) + 1)


# Each is an error that the type checker must find, since it says so where it does not.
MISTAKES = """import bertsmith
bertsmith.pipeline("a", task=bertsmith.Classify)(["a"])[0].lable  # type: ignore[attr-defined]
bertsmith.TaskPipeline.load("a", bertsmith.Tag)(["a"])[0].entity  # type: ignore[attr-defined]
bertsmith.FillPipeline.load("a")(["a"])[0].blank  # type: ignore[attr-defined]
bertsmith.FeaturePipeline.load("a")(["a"])[0].words("median")  # type: ignore[arg-type]
bertsmith.VectorPipeline.load("a")(["a"]).rows  # type: ignore[attr-defined]
"""


def test_a_type_checker_knows_all_that_the_blocks_of_python_say(tmp_path: Path) -> None:
    for page in PAGES:
        lines: list[str] = []
        for block in blocks(page):
            if block.language == "python":  # each line is where it stands in the page
                lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
        if lines:
            (tmp_path / f"{page.stem.replace('-', '_').replace('.', '_')}.py").write_text("\n".join(lines) + "\n", "utf-8")
    (tmp_path / "mistakes.py").write_text(MISTAKES, "utf-8")
    files = sorted(tmp_path.glob("*.py"))
    assert len(files) > 5
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", *files]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    checked = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert checked.returncode == 0, checked.stdout + checked.stderr
