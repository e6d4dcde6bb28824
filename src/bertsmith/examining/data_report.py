"""What is found in labelled data: counts and lengths as plain values, and the sentences that they are said in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_CLASSES_SAID = 5


@dataclass(frozen=True, slots=True)
class Histogram:
    """``counts[i]`` values from ``edges[i]`` on and below ``edges[i + 1]``, the last edge included."""

    edges: Sequence[float]
    counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """The numbers of a split: their range, their mean and deviation, how many different ones."""

    lowest: float
    highest: float
    mean: float
    deviation: float
    n_different: int
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """A part of the data.

    classes       how many examples have each class, label or type, the most frequent first
    n_scored      answers that its scores count: of tags, entities or words; else examples
    n_repeated    rows that are an earlier row again, what is right included
    n_conflicting rows whose texts stand in another row as well, where something else is right
    n_in_training rows whose texts are in the training part too
    n_of_groups   rows whose paragraph or query is in the training part too
    """

    n_rows: int
    classes: Mapping[str, int]
    numbers: NumberFacts | None
    n_scored: int
    n_repeated: int
    n_conflicting: int
    n_in_training: int = 0
    n_of_groups: int = 0

    @property
    def n_labels(self) -> int:
        """All that is counted in :attr:`classes`."""
        return sum(self.classes.values())

    def share(self, label: str) -> float:
        """The share of a class of all that is counted."""
        return self.classes.get(label, 0) / max(self.n_labels, 1)


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """The sequences of the training part in tokens, special tokens included.

    n_long      sequences of more than ``max_length`` tokens, read in windows or, if not ``has_windows``, cut
    n_windows   windows that the long ones are read in
    n_tokens    tokens of the texts, of which ``n_unknown`` are [UNK]; ``unknown`` has what these stand for most often
    """

    n_sequences: int
    median: int
    percentile_95: int
    longest: int
    max_length: int
    has_windows: bool
    n_long: int
    n_windows: int
    n_tokens: int
    n_unknown: int
    unknown: Sequence[str]
    histogram: Histogram

    @property
    def unknown_share(self) -> float:
        """The share of tokens that are [UNK]."""
        return self.n_unknown / max(self.n_tokens, 1)


@dataclass(frozen=True, slots=True)
class DataWarning:
    """What is wrong or doubtful in the data, by the name of the check, and one thing to try."""

    check: str
    finding: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.finding}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class DataReport:
    """The parts of labelled data by their names, "train" first.

    metric    the main score of the task
    tokens    of the training part, where there is a tokenizer
    n_steps   of the shortest trial, where one is planned
    warnings  what to look at before training
    """

    kind: str
    metric: str
    splits: Mapping[str, SplitFacts]
    tokens: TokenFacts | None = None
    n_steps: int | None = None
    warnings: Sequence[DataWarning] = ()

    @property
    def train(self) -> SplitFacts:
        """The part to learn from."""
        return self.splits["train"]

    @property
    def majority(self) -> str | None:
        """The most frequent class of the training part."""
        return next(iter(self.train.classes), None)

    @property
    def has_one_answer(self) -> bool:
        """Whether a constant answer is one of the classes and is scored by how often it is right."""
        return self.metric == "accuracy" or self.kind == "classify"

    def lines(self) -> Iterator[str]:
        """Yield what it says, a line a subject."""
        yield f"data: {'; '.join(f'{name} {facts.n_rows:,} rows' for name, facts in self.splits.items())}"
        yield from self._labels()
        if self.tokens is not None:
            yield _lengths(self.tokens)
        yield self._same()

    def _labels(self) -> Iterator[str]:
        numbers = self.train.numbers
        scored = next((name for name in ("dev", "test") if name in self.splits), None)
        if numbers is not None:
            yield (
                f"numbers: {numbers.lowest:g} to {numbers.highest:g}, mean {numbers.mean:.3g} ± {numbers.deviation:.3g}, "
                f"{numbers.n_different:,} different ones"
            )
        elif (majority := self.majority) is not None:
            shown = [f"{label!r} {self.train.share(label):.1%}" for label in list(self.train.classes)[:_CLASSES_SAID]]
            more = [f"{n_more} more"] if (n_more := len(self.train.classes) - len(shown)) > 0 else []
            yield f"labels: {len(self.train.classes):,} ({', '.join([*shown, *more])})"
            if scored is not None and self.has_one_answer:
                yield f"baseline: always {majority!r} is right in {self.splits[scored].share(majority):.1%} of {scored}"

    def _same(self) -> str:
        train = self.train
        parts = [f"{train.n_repeated:,} training rows repeat others", f"{train.n_conflicting:,} contradict others"]
        others = {name: facts for name, facts in self.splits.items() if name != "train"}
        parts += [f"{facts.n_in_training:,} of {name} are in training" for name, facts in others.items()]
        return f"same texts: {', '.join(parts)}"


def _lengths(tokens: TokenFacts) -> str:
    long = f"all within --max-length {tokens.max_length}"
    if tokens.n_long:
        how = f"read in {tokens.n_windows:,} windows" if tokens.has_windows else "cut"
        long = f"{tokens.n_long / tokens.n_sequences:.1%} longer than --max-length {tokens.max_length} and {how}"
    return (
        f"tokens: median {tokens.median:,}, 95% up to {tokens.percentile_95:,}, longest {tokens.longest:,}, {long}; "
        f"{tokens.unknown_share:.1%} [UNK]"
    )
