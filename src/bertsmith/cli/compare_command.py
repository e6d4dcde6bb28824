"""``bertsmith compare WHAT``."""

from collections.abc import Callable, Sequence

from bertsmith.cli.flags import choose, parse
from bertsmith.cli.standard_input import with_standard_input
from bertsmith.progress import TerminalProgress


def _features(arguments: Sequence[str]) -> None:
    from bertsmith.comparing.feature_comparison import CompareFeaturesConfig, compare_features

    config = parse(CompareFeaturesConfig, arguments, "compare features")
    compare_features(config, TerminalProgress())
    print((config.out / "table.md").read_text(encoding="utf-8"), end="")


def _words(arguments: Sequence[str]) -> None:
    from bertsmith.words.word_similarity import CompareWordsConfig, compare_words

    config = parse(CompareWordsConfig, arguments, "compare words")
    with with_standard_input(config.text) as files:
        compare_words(config.model_copy(update={"text": tuple(files)}), TerminalProgress())
    print((config.out / "table.md").read_text(encoding="utf-8"), end="")


COMPARISONS: dict[str, tuple[str, Callable[[Sequence[str]], None]]] = {
    "features": ("a BiLSTM on a model's frozen features, layer by layer, with fine-tuning it", _features),
    "words": ("cosines of word vectors with people's scores of similarity, layer by layer", _words),
}


def run(arguments: Sequence[str]) -> None:
    """Run a comparison and print its table."""
    about = "Compare ways to use a model on the same data; the table is printed, and is in the directory too."
    summaries = {name: summary for name, (summary, _) in COMPARISONS.items()}
    name, rest = choose(arguments, summaries, "comparison", "compare", about)
    COMPARISONS[name][1](rest)
