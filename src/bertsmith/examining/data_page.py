"""What labelled data are, as a section of a page and as a page of its own."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

from bertsmith.charts.bars import bars_svg, histogram_svg
from bertsmith.charts.page import section, write_page
from bertsmith.examining.data_report import DataReport, SplitFacts

DATA_STYLE = """
:root { --doubt: #d55e00; }
@media (prefers-color-scheme: dark) { :root { --doubt: #f0a030; } }
.facts td, .facts th { padding-right: 14px; }
.facts td:not(:first-child), .facts th:not(:first-child) { text-align: right; white-space: nowrap; }
.facts tbody tr { border-top: 1px solid var(--border); }
.said th { width: 1px; white-space: nowrap; padding-right: 18px; }
.doubts { margin: 0; padding: 0; list-style: none; display: grid; gap: 10px; font-size: 14px; }
.doubts li { overflow-wrap: anywhere; padding-left: 10px; border-left: 3px solid var(--doubt); }
.doubts span { color: var(--quiet); }
.wide { grid-column: 1 / -1; }
"""
"""The style that :func:`data_section` needs."""


def write_data_page(path: Path, title: str, report: DataReport) -> None:
    """Write a page of what a report says, atomically.

    Raises:
        StorageError: the page cannot be written.
    """
    body = f"<header><h1>{escape(title)}</h1></header>{data_section(report)}"
    write_page(path, f"{escape(title)} · data · bertsmith", body, DATA_STYLE)


def data_section(report: DataReport, whose: str = "") -> str:
    """Return the section: what the report says, warnings, a table of the parts, labels and lengths as charts.

    ``whose`` is HTML.
    """
    return section(f"Data{whose}", [_said(report), _warnings(report), _table(report), *_charts(report)])


def _said(report: DataReport) -> str:
    rows = (line.partition(": ") for line in report.lines())
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, _, text in rows)
    return f'<div class="card wide"><table class="said">{cells}</table></div>'


def _warnings(report: DataReport) -> str:
    if not report.warnings:
        return ""
    items = "".join(f"<li>{escape(one.finding)}; <span>{escape(one.remedy)}.</span></li>" for one in report.warnings)
    return f'<div class="card wide"><ul class="doubts">{items}</ul></div>'


def _table(report: DataReport) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in report.splits)
    rows = []
    for title, cells in _rows(report):
        if any(cells):
            rows.append(f"<tr><th>{title}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return (
        f'<div class="card"><table class="facts"><thead><tr><th></th>{names}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _rows(report: DataReport) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of the table: what a figure is, and that of each part, empty where it has none."""
    splits, majority = list(report.splits.items()), report.majority

    def others(figure: int, name: str) -> str:
        return f"{figure:,}" if name != "train" else ""

    yield "rows", [f"{facts.n_rows:,}" for _, facts in splits]
    yield "labels", [f"{len(facts.classes):,}" if facts.classes else "" for _, facts in splits]
    if majority is not None:
        yield f"share of {escape(repr(majority))}", [f"{facts.share(majority):.1%}" for _, facts in splits]
    yield "mean ± deviation", [_spread(facts) for _, facts in splits]
    yield "repeat other rows", [f"{facts.n_repeated:,}" for _, facts in splits]
    yield "contradict other rows", [f"{facts.n_conflicting:,}" for _, facts in splits]
    yield "texts in training too", [others(facts.n_in_training, name) for name, facts in splits]
    if any(facts.n_of_groups for _, facts in splits):
        yield "paragraphs or queries in training too", [others(facts.n_of_groups, name) for name, facts in splits]


def _spread(facts: SplitFacts) -> str:
    return f"{facts.numbers.mean:.3g} ± {facts.numbers.deviation:.3g}" if facts.numbers else ""


def _charts(report: DataReport) -> Iterator[str]:
    train, tokens = report.train, report.tokens
    if train.numbers is not None:
        histogram = train.numbers.histogram
        yield histogram_svg(histogram.edges, histogram.counts, "Numbers in training", "number")
    elif train.classes:
        yield bars_svg(list(train.classes.items()), "Labels in training")
    if tokens is not None:
        histogram, mark = tokens.histogram, (f"--max-length {tokens.max_length}", tokens.max_length)
        yield histogram_svg(
            histogram.edges,
            histogram.counts,
            "Lengths in training",
            "tokens of a sequence, the last bar with all longer ones",
            mark,
        )
