"""Senses of a word as text and as a picture."""

from collections.abc import Sequence

from bertsmith.charts.scatters import Group, scatter_svg
from bertsmith.text.occurrences import Occurrence
from bertsmith.words.senses import Senses

TYPICAL = 3
"""Occurrences shown of a sense."""
# Characters shown on either side of the word: in the terminal, and in the legend of the plot.
_SHOWN, _SHOWN_IN_PLOT = 60, 40


def senses_text(n_found: int, found: Sequence[Occurrence], senses: Senses) -> str:
    """Return the senses, each with its share, the words around it and typical occurrences, to be read."""
    read = "" if n_found == len(found) else f", {len(found):,} of them read"
    lines = [f"{found[0].word}: {n_found:,} occurrences{read}; {_named(senses)}"]
    for number, sense in enumerate(senses.senses, 1):
        lines += ["", f"{number}  {len(sense.occurrences) / len(found):.0%}  {', '.join(sense.words)}".rstrip()]
        typical = dict.fromkeys(_in_context(found[place], _SHOWN, "**") for place in sense.occurrences)
        lines += [f"   {context}" for context in list(typical)[:TYPICAL]]
    return "\n".join(lines)


def _named(senses: Senses) -> str:
    if senses.silhouette is None:
        return f"{len(senses.senses)} sense{'s' if len(senses.senses) > 1 else ''}"
    if len(senses.senses) == 1:
        return f"1 sense (the best silhouette of several is {senses.silhouette:.2f})"
    return f"{len(senses.senses)} senses (silhouette {senses.silhouette:.2f})"


def _in_context(one: Occurrence, width: int, mark: str = "") -> str:
    """Return the word, between two marks, with what is around it."""
    before, after = one.text[: one.start], one.text[one.end :]
    left = before if len(before) <= width else "…" + before[-width:]
    right = after if len(after) <= width else after[:width] + "…"
    return " ".join(f"{left}{mark}{one.text[one.start : one.end]}{mark}{right}".split())


def senses_svg(found: Sequence[Occurrence], senses: Senses) -> str:
    """Return the plane of the occurrences, each sense with its number, its share and its words."""
    groups = [
        Group(
            senses.points_n2[sense.occurrences],
            [f"{number} · {_in_context(found[place], _SHOWN)}" for place in sense.occurrences],
            [
                " · ".join([str(number), f"{len(sense.occurrences) / len(found):.0%}", ", ".join(sense.words)]).rstrip(" ·"),
                _in_context(found[sense.occurrences[0]], _SHOWN_IN_PLOT),
            ],
        )
        for number, sense in enumerate(senses.senses, 1)
    ]
    axes = [
        f"{name} principal component ({share:.0%} of the variance)"
        for name, share in zip(("first", "second"), senses.explained, strict=True)
    ]
    return scatter_svg(groups, f"{found[0].word}: {_named(senses)}", axes[0], axes[1])
