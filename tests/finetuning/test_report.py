"""The report of a fine-tuning run, as a reader finds it: complete, self-contained, and there whatever state the run is in."""

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from bertsmith.errors import ArtifactError
from bertsmith.finetuning.grid import Trial
from bertsmith.finetuning.report import results_table, write_finetune_report
from bertsmith.tasks.task import Mistake, Review

EVIL = '<img src="https://x.example/a.png"><script>alert(1)</script>&"\''


class Page(HTMLParser):
    """A parsed page: its elements, and the text of each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag != "meta":
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, _, texts in self._open:
            texts.append(data)

    def texts(self, tag: str, kind: str | None = None) -> list[str]:
        """All text inside each element of a name, or of a name and a class."""
        return ["".join(texts) for name, found, texts in self.elements if name == tag and kind in (None, found.get("class"))]

    @property
    def tiles(self) -> dict[str, str]:
        tiles = ["".join(texts) for _, found, texts in self.elements if found.get("class") == "tile"]
        labels, values = self.texts("dt"), self.texts("dd")
        return dict(zip(labels[: len(tiles)], values[: len(tiles)], strict=True))

    @property
    def rows(self) -> list[list[str]]:
        """The cells of all rows of tables."""
        rows: list[list[str]] = []
        for tag, _, texts in self.elements:
            if tag == "tr":
                rows.append([])
            elif tag in ("th", "td"):
                rows[-1].append("".join(texts))
        return rows

    @property
    def plots(self) -> list[str]:
        return [str(found["aria-label"]) for tag, found, _ in self.elements if tag == "svg" and "aria-label" in found]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "my-run")


def make_run(path: Path, config: str = "seeds = 2\n", environment: str = '{"torch": "2.9.0"}') -> Path:
    path.mkdir()
    (path / "config.toml").write_text(config, encoding="utf-8")
    (path / "environment.json").write_text(environment, encoding="utf-8")
    return path


def add_trial(
    run: Path,
    lr: float,
    seed: int,
    dev: dict[str, float],
    test: dict[str, float] | None = None,
    finished: bool = True,
    train: Sequence[dict[str, Any]] = ({},),
) -> None:
    trial = Trial(lr, 3.0, 32, seed)
    path = run / "trials" / trial.name
    path.mkdir(parents=True)
    usual = {
        "kind": "train",
        "loss": 0.5,
        "learning_rate": lr,
        "gradient_norm": 2.0,
        "tokens_per_second": 900.0,
        "seconds": 60.0,
    }
    lines = [{**usual, "step": 10 * at, "epoch": at, **record} for at, record in enumerate(train, 1)]
    lines.append({"kind": "dev", "step": 30, "epoch": 3.0, **dev, "seconds": 60.0})
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    if finished:
        numbers = {"learning_rate": lr, "epochs": 3.0, "batch_size": 32, "seed": seed}
        result = {"trial": numbers, "setting": trial.setting, "dev": dev, "test": test, "steps": 30, "seconds": 100.0}
        (path / "result.json").write_text(json.dumps(result), encoding="utf-8")


def add_grid(run: Path) -> None:
    """Two learning rates with two seeds each, of which 5e-05 with seed 1 is the best."""
    for lr, seed, score in ((2e-5, 0, 0.80), (2e-5, 1, 0.82), (5e-5, 0, 0.84), (5e-5, 1, 0.90)):
        add_trial(run, lr, seed, {"mse": 1 - score, "accuracy": score}, {"accuracy": score - 0.05})


def report(run: Path, metric: str = "accuracy", review: Review | None = None) -> Page:
    write_finetune_report(run, metric, None if review is None else {"": review})
    return Page((run / "report.html").read_text(encoding="utf-8"))


def review(**values: Any) -> Review:
    usual = {
        "mistakes": [Mistake("a dull film", "negative", "positive (98%)", 0.98), Mistake("太长了。", "负面", "正面", 0.9)],
        "confidence": np.array([0.95, 0.95, 0.55, 0.55]),
        "is_right": np.array([True, True, True, False]),
        "confusion": np.array([[1200, 3], [4, 5]]),
        "labels": ["negative", "positive"],
        "table": [("label", "precision", "examples"), ("negative", 0.99668, 1203), ("positive", 0.625, 9)],
    }
    return Review(**{**usual, **values})


def test_headline_gives_the_best_trial_and_its_seeds(run: Path) -> None:
    add_grid(run)
    assert "Under way; 4 of 4 begun trials finished." in report(run).texts("p")
    page = report(run, review=Review())
    assert page.texts("h1") == ["my-run"]
    assert "Finished." in page.texts("p")
    assert page.tiles == {
        "Best dev accuracy": "90.00%",
        "Mean of its 2 seeds": "87.00 ± 4.24%",
        "Its test accuracy": "85.00%",
        "Trials": "4",
        "Time": "6 min 40 s",
    }


def test_trials_are_a_row_a_setting_with_the_metric_first_and_the_best_marked(run: Path) -> None:
    add_grid(run)
    page = report(run)
    assert page.rows[:4] == [
        ["", "Dev", "Test"],
        ["learning rate", "epochs", "batch size", "seeds", "accuracy", "MSE", "accuracy"],
        ["2e-05", "3", "32", "2", "81.00 ± 1.41%", "0.1900 ± 0.0141", "76.00 ± 1.41%"],
        ["5e-05", "3", "32", "2", "87.00 ± 4.24%", "0.1300 ± 0.0424", "82.00 ± 4.24%"],
    ]
    assert page.texts("td", "best") == ["0.1300 ± 0.0424"], "of squared errors the least is the best"
    assert page.texts("td", "first best") == ["87.00 ± 4.24%", "82.00 ± 4.24%"]
    assert "learning rate 5e-05, epochs 3, batch size 32, seed 1" in page.texts("strong")


def test_curves_compare_trials_and_show_the_best(run: Path) -> None:
    add_grid(run)
    page = report(run)
    assert page.plots == [
        "Dev accuracy",
        "Training loss",
        "Learning rate, best trial",
        "Gradient norm, best trial",
        "Speed, best trial",
    ]
    assert page.html.count(">lr 5e-05, seed 1 (best)</text>") == 2
    assert page.html.count(">lr 2e-05, seed 0</text>") == 2
    assert page.html.count("(best)</text>") == 2


def test_of_many_trials_the_six_best_are_drawn(run: Path) -> None:
    for seed in range(9):
        add_trial(run, 5e-5, seed, {"accuracy": 0.5 + 0.01 * (seed != 3) * seed})
    page = report(run)
    drawn = re.findall(r">(seed \d)(?: \(best\))?</text>", page.html)
    assert drawn == [f"seed {seed}" for seed in (2, 4, 5, 6, 7, 8)] * 2
    assert "The 6 trials with the best dev scores are drawn; 3 more are left out." in page.texts("p")


def test_several_dev_scores_of_the_best_trial_are_drawn_together(run: Path) -> None:
    add_trial(run, 5e-5, 0, {"f1": 0.8, "precision": 0.9, "mcc": 0.7})
    page = report(run, "f1")
    assert "Dev scores" in page.plots
    assert [name for name in ("F1", "precision", "MCC") if f"<title>{name}</title>" in page.html] == ["F1", "precision"]


def test_the_dev_set_is_reviewed(run: Path) -> None:
    add_grid(run)
    page = report(run, review=review())
    assert page.plots[-2:] == ["Confusion matrix", "Calibration"]
    assert ["label", "precision", "examples"] in page.rows
    assert ["negative", "99.7%", "1,203"] in page.rows
    # Bins: two of 0.95 that are right, two of 0.55 of which one is.
    assert any(text.startswith("Expected calibration error: 5.0%;") for text in page.texts("p"))
    assert page.texts("article") == [
        "a dull filmExpectednegativePredictedpositive (98%)",
        "太长了。Expected负面Predicted正面",
    ]


def test_a_review_shows_what_there_is(run: Path) -> None:
    add_grid(run)
    empty = np.array([])
    page = report(run, review=Review(confidence=empty, is_right=empty.astype(np.bool_)))
    assert "Dev set" not in page.texts("h2")
    assert "The worst errors" not in page.texts("h2")
    page = report(run, review=review(confusion=None, confidence=np.array([np.nan] * 4)))
    assert page.texts("h2") == ["Trials", "Curves", "Dev set", "The worst errors", "Configuration", "Environment"]
    assert not {"Confusion matrix", "Calibration"} & set(page.plots)


def test_the_page_needs_nothing_but_itself_and_escapes_what_is_not_its_own(tmp_path: Path) -> None:
    configuration = tomli_w.dumps({"separator": EVIL})
    run = make_run(tmp_path / "<b>&run", configuration, json.dumps({EVIL: EVIL}))
    add_trial(run, 5e-5, 0, {"accuracy": 0.5, EVIL: 0.7}, {EVIL: 0.6})
    (run / "trials" / EVIL.replace("/", "")).mkdir()
    (run / "trials" / EVIL.replace("/", "") / "metrics.jsonl").write_text('{"kind":"dev","step":1,"epoch":1,"accuracy":0.1}\n')
    table = [(EVIL, "precision"), (EVIL, 0.5)]
    page = report(run, EVIL, review(mistakes=[Mistake(EVIL, EVIL, EVIL, 1.0)], labels=[EVIL, "b"], table=table))
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & {tag for tag, _, _ in page.elements}
    assert not {"src", "href", "xlink:href", "onload", "onclick"} & {name for _, found, _ in page.elements for name in found}
    policies = [found["content"] for _, found, _ in page.elements if found.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "@import" not in page.html
    assert "url(" not in page.html
    assert page.texts("h1") == ["<b>&run"]
    assert page.texts("pre") == [configuration]
    assert page.texts("article") == [f"{EVIL}Expected{EVIL}Predicted{EVIL}"]


def test_a_run_without_trials_has_a_page(run: Path) -> None:
    page = report(run)
    assert page.texts("p") == ["Fine-tuning has begun; nothing is measured yet."]
    assert (page.tiles, page.plots) == ({}, [])
    assert page.texts("pre") == ["seeds = 2\n"]
    assert results_table(run, "accuracy") == "No trial is finished yet."


def test_a_trial_that_has_measured_nothing_yet_changes_nothing(run: Path) -> None:
    (run / "trials" / Trial(5e-5, 3.0, 32, 0).name).mkdir(parents=True)
    (run / "trials" / ".lr-5e-05.1.partial").mkdir()
    assert report(run).texts("p") == ["Fine-tuning has begun; nothing is measured yet."]


def test_the_first_trial_under_way_shows_its_score_so_far(run: Path) -> None:
    add_trial(run, 5e-5, 0, {"accuracy": 0.7}, finished=False)
    page = report(run)
    assert "Under way; 0 of 1 begun trials finished." in page.texts("p")
    assert page.tiles == {"Dev accuracy so far": "70.00%", "Trials": "0 of 1", "Time": "1 min 00 s"}
    assert "Trials" not in page.texts("h2")
    assert page.plots == ["Dev accuracy", "Training loss", "Learning rate", "Gradient norm", "Speed"]


def test_a_trial_under_way_is_not_the_best_however_good(run: Path) -> None:
    add_trial(run, 2e-5, 0, {"accuracy": 0.7})
    add_trial(run, 5e-5, 0, {"accuracy": 0.9}, finished=False)
    page = report(run)
    assert page.tiles == {"Best dev accuracy": "70.00%", "Trials": "1 of 2", "Time": "2 min 40 s"}
    assert [row[0] for row in page.rows if len(row) == 5] == ["learning rate", "2e-05"]


def test_one_trial_has_neither_deviation_nor_marks(run: Path) -> None:
    add_trial(run, 5e-5, 0, {"accuracy": 0.7})
    page = report(run)
    assert "±" not in page.html
    assert 'best"' not in page.html
    assert "(best)" not in page.html


def test_values_that_are_not_finite_are_passed_over(run: Path) -> None:
    nan = float("nan")
    add_trial(run, 5e-5, 0, {"accuracy": nan, "f1": nan}, train=[{}, {"loss": nan}, {"gradient_norm": float("inf")}])
    add_trial(run, 5e-5, 1, {"accuracy": 0.7, "f1": nan})
    page = report(run)
    assert page.tiles["Best dev accuracy"] == "70.00%"
    assert ["5e-05", "3", "32", "2", "70.00%"] in page.rows
    assert not re.search(r'(?:d|cx|cy)="[^"]*(?:nan|inf)', page.html)


def test_a_run_in_which_nothing_is_finite_has_a_page(run: Path) -> None:
    add_trial(run, 5e-5, 0, {"accuracy": float("nan")})
    add_trial(run, 5e-5, 1, {"accuracy": float("nan")})
    page = report(run)
    assert page.tiles == {"Trials": "2 of 2", "Time": "3 min 20 s"}
    assert "Learning rate, seed 0" in page.plots


def test_the_table_is_aligned_markdown_in_the_order_of_numbers(run: Path) -> None:
    add_trial(run, 1e-4, 0, {"mcc": 0.5, "accuracy": 0.8})
    add_trial(run, 2e-5, 10, {"mcc": 0.25, "accuracy": 0.7}, {"accuracy": 0.6})
    add_trial(run, 2e-5, 9, {"mcc": 0.75, "accuracy": 0.7}, {"accuracy": 0.6})
    assert results_table(run, "accuracy").splitlines() == [
        "| setting                     | seeds |  dev accuracy |         dev MCC | test accuracy |",
        "| --------------------------- | ----: | ------------: | --------------: | ------------: |",
        "| lr-2e-05-epochs-3-batch-32  |     2 | 70.00 ± 0.00% | 0.5000 ± 0.3536 | 60.00 ± 0.00% |",
        "| lr-0.0001-epochs-3-batch-32 |     1 |        80.00% |          0.5000 |             – |",
    ]


def test_the_table_of_several_tasks_has_the_main_score_of_each_whatever_its_name(run: Path) -> None:
    add_trial(run, 2e-5, 0, {"mean": 0.5, "mean/f1": 0.6, "b/mcc": 0.4, "mean/recall": 0.7, "b/accuracy": 0.8})
    heading = results_table(run, "mean").splitlines()[0]
    assert [cell.strip() for cell in heading.split("|")[3:-1]] == ["dev mean", "dev mean F1", "dev b MCC"]
    assert "dev mean recall" in results_table(run, "mean", of="mean").splitlines()[0]


def test_a_report_that_cannot_be_made_leaves_the_earlier_one(run: Path) -> None:
    report(run)
    before = (run / "report.html").read_bytes()
    (run / "environment.json").unlink()
    with pytest.raises(ArtifactError, match=r"environment\.json"):
        write_finetune_report(run, "accuracy", None)
    assert (run / "report.html").read_bytes() == before
    assert sorted(file.name for file in run.iterdir()) == ["config.toml", "report.html"]
