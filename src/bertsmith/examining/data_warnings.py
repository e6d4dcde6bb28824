"""What is wrong or doubtful in labelled data, each with one thing to try. Every limit has its reason beside it."""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence

from bertsmith.examining.data_report import DataReport, DataWarning, SplitFacts, TokenFacts
from bertsmith.text.words import is_chinese

MOST_CONFLICTING = 0.01
"""Share of rows that contradict others: nobody can be right in all of them, so they cost a point of the score."""
MOST_REPEATED = 0.1
"""Share of rows that repeat others: these weigh twice. Short texts such as scores and headings repeat by themselves."""
MOST_IN_TRAINING = 0.01
"""Share of rows to be scored that are in training: each may be known by heart, which is worth up to a point of the score."""
MOST_OF_GROUPS = 0.05
"""Share of rows to be scored whose paragraph or query is in training: their text is half known."""
MOST_UNKNOWN = 0.03
"""Share of [UNK]. Tokenizers of the right language leave less than 1 %; those of another one, ten times as much."""
MOST_CUT = 0.05
"""Share of sequences of which a part is never read."""
MOST_OF_ONE_CLASS = 0.9
"""Share of one class from which accuracy hardly tells a model from a constant answer."""
FEWEST_OF_CLASS = 3
"""Examples of a class below which it is hardly ever learnt, and often all in training or all in dev."""
WIDEST_INTERVAL = 0.06
"""Half the width of a 95 % interval beyond which usual differences between models, of a few points, do not show."""
FEWEST_STEPS = 60
"""Steps below which a warm-up and a falling rate leave the weights about where they were (Mosbach et al. 2021: failures of
fine-tuning small data are those of too few steps)."""
TYPICAL_SCORE = 0.8
"""The score for which the width of an interval is told; at 0.5 it is a quarter wider."""
_MOST_CODES = 20
"""Different whole numbers up to which they may well be codes of classes or grades, whatever they are."""
_SHOWN = 3
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def warnings_of(report: DataReport) -> Iterator[DataWarning]:
    """Yield what to look at before training, the gravest first."""
    if report.tokens is not None:
        yield from _of_tokens(report.tokens)
    yield from _of_overlap(report)
    yield from _of_training(report.train)
    yield from _of_labels(report)
    yield from _of_sizes(report)


def half_width(n_scored: int) -> float:
    """Return half the width of a 95 % interval of a share, or of a correlation, of :data:`TYPICAL_SCORE` on ``n`` answers."""
    return 1.96 * math.sqrt(TYPICAL_SCORE * (1 - TYPICAL_SCORE) / max(n_scored, 1))


def _of_tokens(tokens: TokenFacts) -> Iterator[DataWarning]:
    if tokens.unknown_share > MOST_UNKNOWN:
        chinese = any(is_chinese(character) for token in tokens.unknown for character in token)
        model = "a Chinese model, such as bert-base-chinese" if chinese else "a model of the language of the texts"
        shown = ", ".join(map(repr, tokens.unknown[:_SHOWN]))
        yield DataWarning(
            "unknown tokens",
            f"{tokens.unknown_share:.0%} of the tokens are [UNK], such as {shown}: the model cannot read them",
            f"start from {model}",
        )
    if not tokens.has_windows and tokens.n_long > MOST_CUT * tokens.n_sequences:
        yield DataWarning(
            "cut texts",
            f"{tokens.n_long / tokens.n_sequences:.0%} of the sequences are longer than {tokens.max_length} tokens and are cut",
            f"raise --max-length (95% have up to {tokens.percentile_95:,})",
        )


def _of_overlap(report: DataReport) -> Iterator[DataWarning]:
    for name, facts in report.splits.items():
        if name == "train":
            continue
        if facts.n_in_training > MOST_IN_TRAINING * facts.n_rows:
            yield DataWarning(
                "overlap",
                f"{facts.n_in_training:,} of {facts.n_rows:,} {name} rows ({facts.n_in_training / facts.n_rows:.1%}) have "
                "texts that are in training too, which a model may know by heart",
                "take them out of the training file",
            )
        elif facts.n_of_groups > MOST_OF_GROUPS * facts.n_rows:
            yield DataWarning(
                "shared groups",
                f"{facts.n_of_groups:,} of {facts.n_rows:,} {name} rows are about a text (a paragraph, a query or a prompt) "
                "that is in training too: the score says little of new ones",
                "split the data by these texts",
            )


def _of_training(train: SplitFacts) -> Iterator[DataWarning]:
    if train.n_conflicting > MOST_CONFLICTING * train.n_rows:
        yield DataWarning(
            "conflicts",
            f"{train.n_conflicting:,} training rows ({train.n_conflicting / train.n_rows:.1%}) have the same texts as others, "
            "with other labels",
            "correct their labels or take them out",
        )
    if train.n_repeated > MOST_REPEATED * train.n_rows:
        yield DataWarning(
            "duplicates",
            f"{train.n_repeated:,} training rows ({train.n_repeated / train.n_rows:.1%}) repeat others",
            "keep one of each, unless they shall weigh more",
        )


def _of_labels(report: DataReport) -> Iterator[DataWarning]:
    train = report.train
    for names in _alike(list(train.classes)):
        listed = " and ".join(f"{name!r} ({train.classes[name]:,})" for name in names)
        yield DataWarning("labels alike", f"{listed} look alike and are different classes", "write them alike if they are one")
    if report.kind == "classify" and (what := _numbers(list(train.classes))):
        yield DataWarning("numbers as classes", f"the classes are {what}", "use regress if their order means something")
    if train.numbers is not None and train.numbers.n_different == 2 and report.kind == "regress":
        yield DataWarning(
            "classes as numbers",
            f"the numbers are {train.numbers.lowest:g} and {train.numbers.highest:g} alone",
            "use classify, since they look like two classes",
        )
    if report.kind == "multilabel" and train.n_labels == train.n_rows == train.n_scored:
        yield DataWarning("one label each", "every training row has exactly one label", "use classify if it always does")
    yield from _of_balance(report)


def _of_balance(report: DataReport) -> Iterator[DataWarning]:
    train, majority = report.train, report.majority
    if majority is None:
        return
    if report.metric == "accuracy" and train.share(majority) > MOST_OF_ONE_CLASS:
        yield DataWarning(
            "imbalance",
            f"{train.share(majority):.0%} of the training labels are {majority!r}: always to say so is that accurate",
            "choose the best model by --metric macro_f1" if report.kind == "classify" else "look at the scores by label",
        )
    if rare := [label for label, count in train.classes.items() if count < FEWEST_OF_CLASS]:
        yield DataWarning(
            "rare classes",
            f"{len(rare):,} of {len(train.classes):,} labels have fewer than {FEWEST_OF_CLASS} training "
            f"examples: {_some(rare)}",
            "label more of them or merge them with others",
        )
    dev = report.splits.get("dev")
    if dev is not None and (absent := [label for label in train.classes if label not in dev.classes]):
        yield DataWarning(
            "classes not in dev",
            f"{len(absent):,} of {len(train.classes):,} labels are not in dev, so that no score tells of them: {_some(absent)}",
            "put examples of them into dev",
        )


def _of_sizes(report: DataReport) -> Iterator[DataWarning]:
    for name in ("dev", "test"):
        facts = report.splits.get(name)
        if facts is not None and (width := half_width(facts.n_scored)) > WIDEST_INTERVAL:
            yield DataWarning(
                "few rows",
                f"{name} has {facts.n_scored:,} answers to score: {report.metric} of {TYPICAL_SCORE:.0%} is known to "
                f"± {min(width, 1.0) * 100:.0f} points (95%)",
                f"label more for {name}, or compare several --seeds",
            )
    if report.n_steps is not None and report.n_steps < FEWEST_STEPS:
        factor = math.ceil(FEWEST_STEPS / max(report.n_steps, 1))
        yield DataWarning(
            "few steps",
            f"training takes {report.n_steps:,} steps, too few to learn much in",
            f"raise --epochs {factor} times or lower --batch-size",
        )


def _alike(labels: Sequence[str]) -> list[list[str]]:
    """Return the groups of labels that differ by case, blanks, width or the spelling of truths alone."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        plain = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
        groups.setdefault({"true": "1", "false": "0"}.get(plain, plain), []).append(label)
    return [names for names in groups.values() if len(names) > 1]


def _numbers(labels: Sequence[str]) -> str | None:
    """Return what labels are that look like amounts: with a fraction, or many whole ones with gaps between; else None."""
    if not labels or not all(map(_NUMBER.fullmatch, labels)):
        return None
    values = sorted(map(float, labels))
    if any(not value.is_integer() for value in values):
        return f"{len(values):,} numbers with a fraction, from {values[0]:g} to {values[-1]:g}"
    has_gaps = values[-1] - values[0] + 1 > len(values)
    return f"{len(values):,} numbers from {values[0]:g} to {values[-1]:g}" if has_gaps and len(values) > _MOST_CODES else None


def _some(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:_SHOWN])) + (" …" if len(labels) > _SHOWN else "")
