"""What a short pre-training on two CPU cores gives: held-out curves and filled blanks, as committed in docs/.

    python benchmarks/pretraining_curves.py en reviews.txt.gz
    python benchmarks/pretraining_curves.py zh folder-of-chinese-text

Goes the whole way in --work (vocabulary, corpus, and a run for each phase, the later ones going on from the earlier ones'
models), each stage unless it is there, then writes docs/pretraining-NAME.svg and docs/pretraining-NAME.md: the curves, the
held-out figures and what the finished model fills in.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertsmith.charts.curves import Series, curve_svg
from bertsmith.corpus.store import Corpus
from bertsmith.inference.pipelines import pipeline
from bertsmith.tasks.fill import Filled
from bertsmith.training.run_report import read_records

DOCS = Path(__file__).parent.parent / "docs"
TRAINING = "--dropout 0 --evaluate-every 500 --save-every 2000 --log-every 25 --evaluation-tokens 60000"


CHANCE = """For the next sentence, chance is the share of the more frequent answer. It is not 50 %, because a chunk of one
sentence always gets a random second one."""


@dataclass(frozen=True)
class Recipe:
    """A title, the flags of the commands, those of pre-training for each phase, and texts to fill."""

    title: str
    vocab: str
    corpus: str
    phases: list[str]
    blanks: list[str]


RECIPES = {
    "en": Recipe(
        title="English film reviews",
        vocab="--size 10000",
        corpus="--sentences lines",
        phases=[
            "--max-length 32 --batch-tokens 2048 --learning-rate 1e-3 --warmup 0.08 --budget 10m",
            "--max-length 128 --batch-tokens 4096 --learning-rate 1e-3 --warmup 0.05 --budget 12m",
        ],
        blanks=[
            "This is one of the [MASK] movies I have ever seen.",
            "The acting was [MASK] and the plot made no sense.",
            "I would [MASK] recommend this film to anyone.",
            "The special [MASK] were amazing.",
            "She plays the role of his [MASK].",
            "It is based on the [MASK] by Stephen King.",
        ],
    ),
    "zh": Recipe(
        title="Chinese verse, news and handbooks, with whole-word masking",
        vocab="--size 8000",
        corpus="--words zh",
        phases=["--whole-words --max-length 32 --batch-tokens 2048 --learning-rate 1e-3 --warmup 0.08 --budget 8m"],
        blanks=[
            "明月出天[MASK]，苍茫云海间。",
            "春[MASK]秋月何时了。",
            "用户可以使用这个命[MASK]安装软件包。",
            "记者从有关部门[MASK]悉，会议将于明天举行。",
            "长[MASK]一片月，万户捣衣声。",
            "中国经[MASK]持续发展。",
        ],
    ),
}


def main() -> None:
    """Run what is not there yet and write the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--work", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.name]
    work, name = arguments.work, arguments.name
    vocabulary, corpus = work / f"vocab-{name}", work / f"corpus-{name}"
    runs = [work / f"run-{name}-{number}" for number in range(1, len(recipe.phases) + 1)]
    if not vocabulary.exists():
        _bertsmith("vocab", *arguments.text, *recipe.vocab.split(), "--out", vocabulary)
    if not corpus.exists():
        _bertsmith("corpus", *arguments.text, "--tokenizer", vocabulary, *recipe.corpus.split(), "--out", corpus)
    for run, start, flags in zip(runs, ["mini", *(run / "final" for run in runs)], recipe.phases, strict=False):
        if not (run / "final").exists():
            _bertsmith("pretrain", "--corpus", corpus, "--out", run, "--model", start, *TRAINING.split(), *flags.split())
    (DOCS / f"pretraining-{name}.svg").write_text(_curves(runs), encoding="utf-8")
    (DOCS / f"pretraining-{name}.md").write_text(_page(name, recipe, corpus, runs), encoding="utf-8")


def _bertsmith(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "bertsmith", *map(str, arguments)], check=True)


def _held_out(runs: list[Path]) -> list[dict[str, Any]]:
    """Return the held-out records of all phases, steps, tokens and seconds counted on from phase to phase."""
    records: list[dict[str, Any]] = []
    before = {"step": 0, "tokens": 0, "seconds": 0.0}
    for phase, run in enumerate(runs, 1):
        own = read_records(run / "metrics.jsonl", ["held_out"])["held_out"]
        records += [{**row, "phase": phase, **{name: row[name] + before[name] for name in before}} for row in own]
        before = {name: records[-1][name] for name in before}
    return records


def _curves(runs: list[Path]) -> str:
    held_out = _held_out(runs)
    series = []
    for phase in range(1, len(runs) + 1):
        rows = [row for row in held_out if row["phase"] == phase]
        name = f"phase {phase}" if len(runs) > 1 else "held out"
        series.append(Series(name, [row["seconds"] / 60 for row in rows], [row["mlm_loss"] for row in rows]))
    return curve_svg(series, "Held-out masked-token loss", "minutes on two cores", "nats a token")


def _page(name: str, recipe: Recipe, corpus_directory: Path, runs: list[Path]) -> str:
    corpus = Corpus.open(corpus_directory, verify=False)
    starts = ["mini", *(f"run-{number}/final" for number in range(1, len(runs)))]
    commands = [
        f"bertsmith vocab TEXT {recipe.vocab} --out vocabulary",
        f"bertsmith corpus TEXT --tokenizer vocabulary {recipe.corpus} --out corpus",
        *(
            f"bertsmith pretrain --corpus corpus --model {start} --out run-{number} \\\n    {flags} \\\n    {TRAINING}"
            for number, (start, flags) in enumerate(zip(starts, recipe.phases, strict=True), 1)
        ),
    ]
    counts = f"{corpus.n_documents:,} documents, {corpus.n_sentences:,} sentences, {corpus.n_tokens:,} tokens"
    return "\n".join(
        [
            f"# {recipe.title}",
            "",
            f"{counts}; a BERT-mini (4 layers, 256 wide) on two CPU cores. Made by `benchmarks/pretraining_curves.py`.",
            "",
            "```console",
            *commands,
            "```",
            "",
            f"![Held-out masked-token loss](pretraining-{name}.svg)",
            "",
            *_held_out_table(_held_out(runs)),
            "",
            CHANCE,
            "",
            "| text | likeliest |",
            "|---|---|",
            *(f"| {filled.text} | {_candidates(filled)} |" for filled in pipeline(runs[-1] / "final")(recipe.blanks)),
            "",
        ]
    )


def _held_out_table(held_out: list[dict[str, Any]]) -> list[str]:
    every = max(1, len(held_out) // 10)
    shown = [row for number, row in enumerate(held_out) if number % every == 0 or number == len(held_out) - 1]
    header = "| phase | step | tokens seen | minutes | MLM loss | perplexity | MLM accuracy | NSP accuracy | chance |"
    rows = [
        f"| {row['phase']} | {row['step']:,} | {row['tokens'] / 1e6:.1f} M | {row['seconds'] / 60:.1f} | "
        f"{row['mlm_loss']:.3f} | {row['mlm_perplexity']:,.0f} | {row['mlm_accuracy']:.1%} | "
        f"{row['nsp_accuracy']:.1%} | {row['nsp_chance']:.1%} |"
        for row in shown
    ]
    return [header, "|---:|---:|---:|---:|---:|---:|---:|---:|---:|", *rows]


def _candidates(filled: Filled) -> str:
    return ", ".join(f"{candidate.token} {candidate.probability:.0%}" for candidate in filled.blanks[0])


if __name__ == "__main__":
    main()
