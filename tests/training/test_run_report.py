"""The reading of a run's metrics for its report."""

import json
from itertools import pairwise
from pathlib import Path

from bertsmith.training.run_report import read_records, write_run_page


def test_of_very_many_training_records_evenly_spaced_ones_are_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    steps = range(10, 300_010, 10)
    with path.open("w", encoding="utf-8") as file:
        for step in steps:
            file.write(json.dumps({"kind": "train", "step": step}) + "\n")
            if step % 1000 == 0:
                file.write(json.dumps({"kind": "held_out", "step": step}) + "\n")
                file.write(json.dumps({"kind": "blanks", "step": step, "sentences": [{"answer": "train"}]}) + "\n")
        file.write('{"kind": "train", "st')
    found = read_records(path, ["held_out", "blanks"])
    kept = [record["step"] for record in found["train"]]
    for kind in ("held_out", "blanks"):
        assert [record["step"] for record in found[kind]] == list(range(1000, 300_001, 1000))
    assert 1500 < len(kept) <= 4000
    assert (kept[0], kept[-1]) == (steps[0], steps[-1])
    assert kept == sorted(set(kept))
    assert len({after - before for before, after in pairwise(kept[:-1])}) == 1


def test_a_short_run_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    records = [{"kind": "train", "step": step, "loss": 1 / (step + 1)} for step in range(100)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    assert read_records(path, []) == {"train": records}


def test_a_run_that_has_written_nothing_has_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "metrics.jsonl", ["dev"]) == {"train": [], "dev": []}


def test_the_page_shows_no_place_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text('{"device": "cpu"}')
    (tmp_path / "config.toml").write_text('corpus = "/home/anna/corpus"\nout = "runs/first"\nmodel = "/home/anna/base"\n')
    write_run_page(tmp_path, "", "")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "anna" not in page and str(tmp_path) not in page
    for shown in ("corpus = &quot;corpus&quot;", "out = &quot;runs/first&quot;", "model = &quot;base&quot;"):
        assert shown in page
