"""What an example says and what is right of it, in one form for all tasks: what a look at data counts and compares."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Content:
    """An example as it is counted.

    sequences  for each sequence that the model reads, the texts in it
    right      what is right, written out; None where nothing can be said to be wrong
    classes    what is counted of it: its class, its labels, the types of its entities
    number     the number that it has, of tasks with numbers
    group      what other examples may have in common with it without being the same: its paragraph, its query
    n_scored   how many answers a score counts in it
    """

    sequences: tuple[tuple[str, ...], ...] = ()
    right: str | None = None
    classes: tuple[str, ...] = ()
    number: float | None = None
    group: str | None = None
    n_scored: int = 1

    @property
    def key(self) -> tuple[str, ...]:
        """Its texts with white space made equal: those of two examples are the same when the texts are."""
        return tuple(dict.fromkeys(" ".join(text.split()) for texts in self.sequences for text in texts))
