from pathlib import Path

from bertsmith.examining.data_page import data_section, write_data_page
from bertsmith.examining.examine import examine
from bertsmith.tasks.files.texts import TextExample
from bertsmith.tasks.kinds.classify import Classify
from bertsmith.tasks.kinds.regress import Regress
from bertsmith.text.tokenizer import Tokenizer

EVIL = "<script>alert(1)</script>"


def test_the_page_shows_what_was_found_and_escapes_labels(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    train = [TextExample(f"{EVIL} {number}", None, (EVIL, "neg")[number % 2], "", "") for number in range(8)]
    report = examine(Classify(labels=(EVIL, "neg")), {"train": train, "dev": train[:2]}, tiny_tokenizer)
    write_data_page(tmp_path / "data.html", "train <1>.tsv", report)
    page = (tmp_path / "data.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<h1>train &lt;1&gt;.tsv</h1>" in page
    assert page.count("<svg") == 2
    assert all(f"<th>{name}</th>" in page for name in ("train", "dev", "rows", "tokens", "baseline", "texts in training too"))
    assert all(str(warning.remedy) in page for warning in report.warnings)


def test_a_section_of_numbers_without_a_tokenizer_has_their_histogram_alone() -> None:
    train = [TextExample(str(number), None, number, "", "") for number in range(500)]
    section = data_section(examine(Regress(), {"train": train}), " of b")
    assert "<h2>Data of b</h2>" in section
    assert section.count("<svg") == 1
    assert "Numbers in training" in section
    assert '<ul class="doubts">' not in section
