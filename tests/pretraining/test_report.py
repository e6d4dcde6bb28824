"""The report of a run, as a reader finds it: complete, self-contained, and there whatever state the run is in."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from bertsmith.errors import ArtifactError
from bertsmith.pretraining.report import write_report

VOID = {"meta"}


class Page(HTMLParser):
    """A parsed report: its elements, and its text by element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("class") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] != "style":
            self.texts.append((tuple(f"{tag}.{kind}".rstrip(".") for tag, kind in self._open), data))

    def text(self, element: str) -> list[str]:
        """The texts directly inside elements named like ``td.right``."""
        return [text for path, text in self.texts if path[-1] == element]

    def inside(self, element: str) -> str:
        """All text at any depth inside elements named like ``td.right``."""
        return "".join(text for path, text in self.texts if element in path)

    @property
    def plots(self) -> list[str]:
        return [
            str(attributes["aria-label"]) for tag, attributes in self.elements if tag == "svg" and "aria-label" in attributes
        ]


def train(step: int, **values: Any) -> dict[str, Any]:
    return {
        "kind": "train",
        "step": step,
        "loss": 9.8,
        "mlm_loss": 9.1,
        "mlm_accuracy": 0.03,
        "nsp_loss": 0.69,
        "nsp_accuracy": 0.52,
        "learning_rate": 1e-5,
        "gradient_norm": 3.2,
        "tokens": 8192 * step,
        "tokens_per_second": 900.0,
        "utilisation": None,
        "seconds": 9.0 * step,
        **values,
    }


def held_out(step: int, **values: Any) -> dict[str, Any]:
    return {
        "kind": "held_out",
        "step": step,
        "mlm_loss": 2.345678,
        "mlm_perplexity": 10.44,
        "mlm_accuracy": 0.4321,
        "nsp_loss": 0.3,
        "nsp_accuracy": 0.8768,
        "tokens": 8192 * step,
        "seconds": 9.0 * step,
        **values,
    }


def blanks(step: int, text: str, answer: str | None, *predictions: tuple[str, float]) -> dict[str, Any]:
    sentence = {"text": text, "answer": answer, "predictions": [list(prediction) for prediction in predictions]}
    return {"kind": "blanks", "step": step, "sentences": [sentence]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "my-run"
    run.mkdir()
    (run / "config.toml").write_text('model = "mini"\nsteps = 40\n', encoding="utf-8")
    (run / "environment.json").write_text('{"torch": "2.9.0", "cores": 2, "precision": "bfloat16"}', encoding="utf-8")
    return run


def report(run: Path, *records: dict[str, Any], tail: str = "", is_finished: bool = False) -> Page:
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (run / "metrics.jsonl").write_text(lines + tail, encoding="utf-8")
    write_report(run, is_finished)
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_headline_gives_the_last_state_and_held_out_figures(run: Path) -> None:
    page = report(run, held_out(0, mlm_loss=10.0), train(10), train(400), held_out(400))
    figures = dict(zip(page.text("dt"), page.text("dd"), strict=True))
    assert figures == {
        "Steps": "400",
        "Tokens seen": "3.3 M",
        "Time": "1 h 00 min",
        "Held-out loss": "2.346",
        "Perplexity": "10.4",
        "Masked-token accuracy": "43.2%",
        "Next-sentence accuracy": "87.7%",
    }
    assert page.text("h1") == ["my-run"]
    assert "Step 400 so far, not finished; held-out figures from step 400." in page.text("p")


def test_a_finished_run_says_so(run: Path) -> None:
    page = report(run, train(400), held_out(400), is_finished=True)
    assert "Finished after step 400; held-out figures from step 400." in page.text("p")


def test_all_curves_are_drawn_with_the_chance_line(run: Path) -> None:
    page = report(run, *(train(step) for step in range(10, 100, 10)), held_out(50))
    assert page.plots == [
        "Masked-token loss",
        "Masked-token accuracy",
        "Next-sentence accuracy",
        "Learning rate",
        "Gradient norm",
        "Speed",
    ]
    assert page.html.count("<title>chance</title>") == 1


def test_an_objective_without_pairs_has_no_pair_figures(run: Path) -> None:
    without = {"nsp_loss": None, "nsp_accuracy": None}
    page = report(run, train(10, **without), held_out(10, **without))
    assert "Next-sentence accuracy" not in page.html
    assert len(page.plots) == 5


def test_config_and_environment_are_shown(run: Path) -> None:
    page = report(run, train(10))
    assert page.text("pre") == ['model = "mini"\nsteps = 40\n']
    assert {"torch", "cores", "precision"} <= set(page.text("th"))
    assert page.text("td") == ["2.9.0", "2", "bfloat16"]


def test_blanks_show_three_candidates_and_mark_the_right_one(run: Path) -> None:
    text = "the man worked as a [MASK] ."
    page = report(
        run,
        blanks(0, text, "carpenter", ("the", 0.001), ("of", 0.0005), ("a", 0.0004), ("carpenter", 0.0003)),
        blanks(500, text, "carpenter", ("teacher", 0.12), ("carpenter", 0.081), ("lawyer", 0.02), ("cook", 0.01)),
    )
    assert page.inside("td.right") == "carpenter ✓ 8.1%"
    wrong = page.inside("td.wrong")
    assert [word in wrong for word in ("the 0.1%", "a <0.1%", "teacher 12.0%", "lawyer 2.0%", "cook", "carpenter")] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]
    assert page.text("strong") == ["carpenter"]
    assert page.inside("h3") == text


def test_a_probe_without_known_answer_marks_nothing(run: Path) -> None:
    page = report(run, blanks(0, "a [MASK] .", None, ("None", 0.5), ("b", 0.1)))
    assert not page.inside("td.right")
    assert not page.text("strong")


def test_many_measurements_of_blanks_are_shown_at_twelve_spread_steps(run: Path) -> None:
    page = report(run, *(blanks(step, "a [MASK] .", "b", ("b", 0.5)) for step in range(0, 10_100, 100)))
    steps = [int(text.replace(",", "")) for text in page.text("th") if re.fullmatch(r"[\d,]+", text)]
    assert (len(steps), steps[0], steps[-1]) == (12, 0, 10_000)
    gaps = [after - before for before, after in pairwise(steps)]
    assert max(gaps) - min(gaps) <= 100


def test_chinese_stands_as_it_is(run: Path) -> None:
    page = report(run, blanks(0, "北 京 是 中 国 的 [MASK] 都 。", "首", ("首", 0.25)))
    assert page.inside("h3") == "北 京 是 中 国 的 [MASK] 都 。"
    assert page.inside("td.right") == "首 ✓ 25.0%"


def test_everything_from_the_run_is_escaped(tmp_path: Path) -> None:
    evil = '<img src="https://x.example/a.png"><script>alert(1)</script>&"\''
    run = tmp_path / "<b>&run"
    run.mkdir()
    configuration = tomli_w.dumps({"separator": evil})
    (run / "config.toml").write_text(configuration, encoding="utf-8")
    (run / "environment.json").write_text(json.dumps({evil: evil}), encoding="utf-8")
    page = report(run, blanks(0, evil, evil, (evil, 0.5), ("</td>", 0.1)))
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert page.text("h1") == ["<b>&run"]
    assert (page.text("pre"), page.text("strong")) == ([configuration], [evil])
    assert page.inside("h3") == evil


def test_the_page_needs_nothing_but_itself(run: Path) -> None:
    page = report(run, *(train(step) for step in range(1, 50)), held_out(10), blanks(0, "a [MASK]", "b", ("b", 0.5)))
    policies = [found["content"] for tag, found in page.elements if found.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & {tag for tag, _ in page.elements}
    assert not {"src", "href", "xlink:href", "onload", "onclick"} & {name for _, found in page.elements for name in found}
    assert set(re.findall(r"\w+://[^\"' ]+", page.html)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in page.html
    assert "url(" not in page.html


@pytest.mark.parametrize(
    "tail",
    [
        '{"kind":"train","step":30,"lo',
        '{"kind":"blanks","step":30,"sentences":[{"text":"北',
        "12",
        "[]",
        '{"kind":"x","step":1}',
        "\n",
    ],
)
def test_a_line_that_is_no_record_is_passed_over(run: Path, tail: str) -> None:
    page = report(run, train(10), train(20), held_out(20), tail=tail)
    assert "Step 20 so far, not finished; held-out figures from step 20." in page.text("p")


def test_a_last_line_cut_inside_a_character_is_passed_over(run: Path) -> None:
    (run / "metrics.jsonl").write_bytes(
        json.dumps(train(10)).encode() + b'\n{"kind":"blanks","step":20,"a":"' + "北".encode()[:2]
    )
    write_report(run)
    assert "Step 10 so far" in (run / "report.html").read_text(encoding="utf-8")


def test_a_run_without_metrics_has_a_page(run: Path) -> None:
    write_report(run)
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert page.text("p") == ["Pre-training has begun; nothing is measured yet."]
    assert page.plots == []
    assert page.text("pre")


def test_before_any_held_out_measurement_there_are_curves(run: Path) -> None:
    page = report(run, train(10))
    assert "Step 10 so far, not finished; no held-out figures yet." in page.text("p")
    assert len(page.plots) == 6
    assert "held out" not in page.html


def test_values_that_are_not_finite_are_left_out_of_curves(run: Path) -> None:
    page = report(run, train(10), train(20, gradient_norm=float("nan")), train(30, gradient_norm=float("inf")))
    assert len(page.plots) == 6
    assert not re.search(r'(?:d|cx|cy)="[^"]*(?:nan|inf)', page.html)


def test_the_page_of_a_long_run_stays_small(run: Path) -> None:
    page = report(run, *(train(step, mlm_loss=9 - step % 7) for step in range(12_000)))
    assert len(page.html) < 300_000


def test_a_report_that_cannot_be_made_leaves_the_earlier_one(run: Path) -> None:
    report(run, train(10))
    before = (run / "report.html").read_bytes()
    (run / "environment.json").unlink()
    with pytest.raises(ArtifactError, match=r"environment\.json"):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert sorted(file.name for file in run.iterdir()) == ["config.toml", "metrics.jsonl", "report.html"]
