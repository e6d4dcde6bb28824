"""What half an hour of pre-training on two cores gives: held-out curves and filled blanks, as committed in docs/.

    python benchmarks/pretraining_curves.py en  ../shared/data/corpus/en/imdb_reviews.txt.gz
    python benchmarks/pretraining_curves.py zh  ../shared/data/corpus/zh

Goes the whole way in --work (vocabulary, corpus, run), each stage unless it is there, then writes docs/pretraining-NAME.svg
and docs/pretraining-NAME.md: the curves, the held-out figures and what the finished model fills in.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bertsmith.corpus.store import Corpus
from bertsmith.inference.pipelines import pipeline
from bertsmith.tasks.fill import Filled
from bertsmith.training.plots import Series, curve_svg
from bertsmith.training.report import read_metrics

DOCS = Path(__file__).parent.parent / "docs"
TRAINING = ["--model", "mini", "--batch-tokens", "4096", "--learning-rate", "1e-3", "--warmup", "0.08", "--dropout", "0"]
TRAINING += ["--evaluate-every", "250", "--save-every", "1000", "--log-every", "25", "--evaluation-tokens", "60000"]


@dataclass(frozen=True)
class Recipe:
    """A title, the flags of a language's three commands, and texts to fill."""

    title: str
    vocab: list[str]
    corpus: list[str]
    pretrain: list[str]
    blanks: list[str]


RECIPES = {
    "en": Recipe(
        title="English film reviews",
        vocab=["--size", "10000"],
        corpus=["--sentences", "lines"],
        pretrain=["--budget", "30m"],
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
        vocab=["--size", "8000"],
        corpus=["--words", "zh"],
        pretrain=["--budget", "20m", "--whole-words"],
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
    vocabulary, corpus, run = (arguments.work / f"{stage}-{arguments.name}" for stage in ("vocab", "corpus", "run"))
    if not vocabulary.exists():
        _bertsmith("vocab", *arguments.text, *recipe.vocab, "--out", vocabulary)
    if not corpus.exists():
        _bertsmith("corpus", *arguments.text, "--tokenizer", vocabulary, *recipe.corpus, "--out", corpus)
    if not (run / "final").exists():
        _bertsmith("pretrain", "--corpus", corpus, "--out", run, *TRAINING, *recipe.pretrain)
    (DOCS / f"pretraining-{arguments.name}.svg").write_text(_curves(run), encoding="utf-8")
    (DOCS / f"pretraining-{arguments.name}.md").write_text(_page(arguments.name, recipe, corpus, run), encoding="utf-8")


def _bertsmith(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "bertsmith", *map(str, arguments)], check=True)


def _curves(run: Path) -> str:
    metrics = read_metrics(run / "metrics.jsonl")
    held_out = metrics.held_out
    series = [
        Series("training", [row["step"] for row in metrics.train], [row["mlm_loss"] for row in metrics.train], smooth=True),
        Series("held out", [row["step"] for row in held_out], [row["mlm_loss"] for row in held_out]),
    ]
    return curve_svg(series, "Masked-token loss", "step", "loss")


def _page(name: str, recipe: Recipe, corpus_directory: Path, run: Path) -> str:
    corpus = Corpus.open(corpus_directory, verify=False)
    commands = [
        f"bertsmith vocab TEXT {' '.join(recipe.vocab)} --out vocabulary",
        f"bertsmith corpus TEXT --tokenizer vocabulary {' '.join(recipe.corpus)} --out corpus",
        f"bertsmith pretrain --corpus corpus --out run {' '.join([*TRAINING, *recipe.pretrain])}",
    ]
    return "\n".join(
        [
            f"# {recipe.title}",
            "",
            f"{corpus.n_documents:,} documents, {corpus.n_sentences:,} sentences, {corpus.n_tokens:,} tokens; a BERT-mini "
            "(4 layers, 256 wide) on two CPU cores. Made by `benchmarks/pretraining_curves.py`.",
            "",
            "```console",
            *commands,
            "```",
            "",
            f"![Masked-token loss over the steps](pretraining-{name}.svg)",
            "",
            *_held_out_table(run),
            "",
            "Chance, for the next sentence, is the share of the more frequent answer.",
            "",
            "| text | likeliest |",
            "|---|---|",
            *(f"| {filled.text} | {_candidates(filled)} |" for filled in pipeline(run / "final")(recipe.blanks)),
            "",
        ]
    )


def _held_out_table(run: Path) -> list[str]:
    held_out = read_metrics(run / "metrics.jsonl").held_out
    shown = held_out[:: max(1, len(held_out) // 8)]
    shown += [] if shown[-1] is held_out[-1] else [held_out[-1]]
    header = "| step | tokens seen | minutes | MLM loss | perplexity | MLM accuracy | NSP accuracy | chance |"
    rows = [
        f"| {row['step']:,} | {row['tokens'] / 1e6:.1f} M | {row['seconds'] / 60:.1f} | {row['mlm_loss']:.3f} | "
        f"{row['mlm_perplexity']:,.0f} | {row['mlm_accuracy']:.1%} | {row['nsp_accuracy']:.1%} | {row['nsp_chance']:.1%} |"
        for row in shown
    ]
    return [header, "|---:|---:|---:|---:|---:|---:|---:|---:|", *rows]


def _candidates(filled: Filled) -> str:
    return ", ".join(f"{candidate.token} {candidate.probability:.0%}" for candidate in filled.blanks[0])


if __name__ == "__main__":
    main()
