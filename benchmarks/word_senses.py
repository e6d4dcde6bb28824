"""Do the two senses of a word part as a model reads it, layer by layer?

    python benchmarks/word_senses.py MODEL --svg docs/word-senses.svg

Twenty English words, each in two sentences of one sense and two of another. A word's vector after a layer is the mean of its
pieces'; the table has the mean cosine of two occurrences of one sense, of two of different senses, and of any two different
words of the same sentences, and the share of occurrences whose most alike other occurrence has their own sense.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bertsmith.charts.curves import Series, curve_svg
from bertsmith.files import atomic_file
from bertsmith.inspection.figures.similarity import Context, context
from bertsmith.inspection.subject import Subject

WORDS: dict[str, tuple[str, str, str, str]] = {
    "bank": (
        "They had a picnic on the grassy bank of the river.",
        "The canoe drifted against the muddy bank and stopped.",
        "The bank raised its interest rates last month.",
        "He asked the bank for a loan to buy a car.",
    ),
    "bat": (
        "A bat flew out of the dark cave at dusk.",
        "The bat hung upside down and slept all day.",
        "He swung the bat and hit the ball over the fence.",
        "The player broke his wooden bat in the second inning.",
    ),
    "spring": (
        "The garden is full of tulips in spring.",
        "Every spring the swallows come back to the barn.",
        "The spring in the old mattress was broken.",
        "A metal spring pushes the door shut again.",
    ),
    "match": (
        "The team lost the match by two goals.",
        "Thousands watched the tennis match on Sunday.",
        "She struck a match and lit the candle.",
        "The damp match would not burn.",
    ),
    "seal": (
        "The seal dived under the ice to catch a fish.",
        "A young seal was lying on the rocks near the sea.",
        "The letter was closed with a red wax seal.",
        "The king pressed his seal on the document.",
    ),
    "crane": (
        "A crane stood on one leg in the shallow water.",
        "The crane spread its white wings and flew away.",
        "The crane lifted steel beams to the top of the tower.",
        "Workers drove the crane to the building site.",
    ),
    "palm": (
        "We sat in the shade of a palm on the beach.",
        "A tall palm grew beside the hotel pool.",
        "She held the coin in the palm of her hand.",
        "He had a cut across his left palm.",
    ),
    "pitcher": (
        "She filled the pitcher with cold lemonade.",
        "The glass pitcher stood next to the plates on the table.",
        "The pitcher threw a fast ball to the batter.",
        "Their best pitcher hurt his arm during the season.",
    ),
    "ruler": (
        "Use a ruler to draw a straight line.",
        "The pupil measured the box with a plastic ruler.",
        "The old ruler governed the kingdom for forty years.",
        "The people rose against the cruel ruler of their country.",
    ),
    "mouse": (
        "The cat chased a mouse under the kitchen floor.",
        "A small brown mouse ate the cheese.",
        "Click the left button of the mouse to open the file.",
        "My computer needs a new keyboard and a mouse.",
    ),
    "pupil": (
        "The pupil raised her hand to answer the teacher.",
        "Each pupil in the class received a book.",
        "The pupil of the eye grows wide in the dark.",
        "The doctor shone a light into his left pupil.",
    ),
    "light": (
        "The light of the lamp was too bright to sleep.",
        "Switch off the light when you leave the room.",
        "The suitcase was light enough to carry with one hand.",
        "She bought a light tent that weighs almost nothing.",
    ),
    "bark": (
        "The bark of the old oak was rough and dark.",
        "Beetles had eaten through the bark of the pine trees.",
        "The bark of the neighbour's dog woke me up.",
        "We heard a loud bark behind the gate.",
    ),
    "date": (
        "Please write the date at the top of the form.",
        "The exact date of the battle is not known.",
        "He ate a sweet dried date with his coffee.",
        "She chopped a date and a fig for the cake.",
    ),
    "nail": (
        "He hammered a nail into the wooden wall.",
        "The picture hangs on a rusty nail.",
        "She painted the nail of her thumb red.",
        "He broke a nail on his little finger.",
    ),
    "organ": (
        "The heart is the organ that pumps blood.",
        "The patient needs a donor for the damaged organ.",
        "She plays the organ in church every Sunday.",
        "The sound of the organ filled the cathedral.",
    ),
    "trunk": (
        "The elephant lifted the log with its trunk.",
        "A young elephant drinks water through its trunk.",
        "Put the bags into the trunk of the car.",
        "He closed the trunk and drove to the airport.",
    ),
    "court": (
        "The court found him guilty of theft.",
        "Her lawyer will appeal to a higher court.",
        "The players walked onto the tennis court.",
        "We played basketball on the court behind the school.",
    ),
    "mole": (
        "A mole dug tunnels under the lawn.",
        "The mole is nearly blind and lives in the soil.",
        "She has a small brown mole on her cheek.",
        "The doctor removed a dark mole from his skin.",
    ),
    "wave": (
        "A huge wave broke over the deck of the ship.",
        "The surfer waited for the next big wave.",
        "She gave us a friendly wave from the window.",
        "With a quick wave of his hand he said goodbye.",
    ),
}
_SENSES = np.array([0, 0, 1, 1])
_SAME = (_SENSES[:, None] == _SENSES) & ~np.eye(4, dtype=bool)
_OTHER = _SENSES[:, None] != _SENSES


def main() -> None:
    """Print the table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    subject = Subject.load(arguments.model)
    found = [context(subject, word, list(texts)) for word, texts in WORDS.items()]
    rows = [_row(layer, found) for layer in range(subject.n_layers + 1)]
    _print_table(rows)
    parted = [one.word for one in found if _gap(one, -1) > _gap(one, 0)]
    print(f"\nwords whose senses are further apart after the last layer than in the embeddings: {len(parted)} of {len(found)}")
    if arguments.svg:
        layers = list(range(len(rows)))
        names = ("same sense", "other sense", "any two words")
        series = [Series(name, layers, [row[place] for row in rows]) for place, name in enumerate(names, 1)]
        svg = curve_svg(series, "Twenty words of two senses", "layer (0: embeddings)", "cosine")
        with atomic_file(arguments.svg) as temporary:
            temporary.write_text(svg + "\n", encoding="utf-8")


def _row(layer: int, found: Sequence[Context]) -> tuple[float, ...]:
    """Return the layer, the three mean cosines, and the share of occurrences nearest to one of their own sense."""
    cosines = np.stack([one.layers[layer] for one in found])
    nearest = (cosines - 9 * np.eye(4)).argmax(axis=2)
    baseline = float(np.mean([one.baseline[layer] for one in found]))
    return (
        layer,
        float(cosines[:, _SAME].mean()),
        float(cosines[:, _OTHER].mean()),
        baseline,
        float((_SENSES[nearest] == _SENSES).mean()),
    )


def _gap(one: Context, layer: int) -> float:
    """Return how much more alike occurrences of one sense are than those of different ones."""
    return float(one.layers[layer][_SAME].mean() - one.layers[layer][_OTHER].mean())


def _print_table(rows: Sequence[tuple[float, ...]]) -> None:
    print("| layer | same sense | other sense | gap | any two words | nearest is of the same sense |")
    print("|---:|---:|---:|---:|---:|---:|")
    for layer, same, other, baseline, right in rows:
        print(f"| {layer:.0f} | {same:.3f} | {other:.3f} | {same - other:.3f} | {baseline:.3f} | {right:.0%} |")


if __name__ == "__main__":
    main()
