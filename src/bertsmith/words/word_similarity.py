"""Word similarity: how well cosines between word vectors rank pairs as people do, by layer.

Input embeddings are compared with contextual vectors, of words alone and averaged over where they occur in text (Bommasani,
Davis and Cardie 2020, "Interpreting Pretrained Contextualized Representations via Reductions to Static Embeddings").

Dimensions: W words, P pairs, L layers with the embeddings, D width.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic

from bertsmith.artifacts.directory import load_model
from bertsmith.artifacts.weights import weights_digest
from bertsmith.charts.curves import Series, curve_svg
from bertsmith.config import Config
from bertsmith.engine.engine import make_engine
from bertsmith.errors import InputError
from bertsmith.files import atomic_directory, read_manifest, verify_manifest, write_manifest
from bertsmith.inference.features import FeaturePipeline, Layers
from bertsmith.model.bert import Heads
from bertsmith.progress import SILENT, Progress
from bertsmith.sources.digests import described, is_finished
from bertsmith.sources.file_patterns import find_files
from bertsmith.sources.streams import read_input, read_lines
from bertsmith.tasks.scoring.scores import regression_scores
from bertsmith.text.occurrences import EvenSample, Occurrence, WordFinder, occurrences
from bertsmith.text.readers import ReaderConfig, read_documents
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.words.word_vectors import word_vectors

Floats = npt.NDArray[np.float32]

_FEWEST_PAIRS = 3
_KIND = "word comparison"


class CompareWordsConfig(Config):
    """Compare a model's input embeddings with its contextual vectors, layer by layer, on pairs of words that people scored."""

    model: Path
    """Model directory."""
    pairs: tuple[Path, ...]
    """Files of two words and a score a line, between tabs, commas or blanks, such as WS-353 and SimLex-999."""
    out: Path
    """Directory to write table.md, scores.json and one plot a file into."""
    text: tuple[str, ...] = ()
    """Text files, folders or globs; each word is averaged over its occurrences there. Pairs without both words are left out."""
    occurrences: int = pydantic.Field(default=20, ge=1)
    """The most occurrences of a word that are averaged, evenly spread over the text."""
    reader: ReaderConfig = pydantic.Field(default_factory=ReaderConfig)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A file of word pairs with the scores that people gave."""

    path: Path
    words: list[tuple[str, str]]
    scores: list[float]


@dataclass(frozen=True, slots=True)
class Correlations:
    """Spearman's correlation of cosines with people's scores: of input embeddings, and of contextual vectors by layer from the
    embeddings on; ``n_pairs`` of all in the file were compared."""

    name: str
    n_pairs: int
    of: int
    static: float
    alone: list[float]
    in_text: list[float] | None


def compare_words(config: CompareWordsConfig, progress: Progress = SILENT) -> list[Correlations]:
    """Write the table, the figures and the plots into ``config.out``, unless they are there already, and return the figures.

    Raises:
        ArtifactError: ``config.out`` holds something that was made of something else; or as ``load_model``.
        DamagedError: ``config.out`` was made of the same, and is damaged.
        InputError: a file cannot be read, or of its pairs fewer than three are in the text.
    """
    made_of = {
        "model": weights_digest(config.model),
        "settings": config.model_dump(mode="json", include={"occurrences", "reader"}),
        "sources": described([*config.pairs, *find_files(config.text)] if config.text else config.pairs),
    }
    if is_finished(config.out, _KIND, made_of):
        verify_manifest(config.out, read_manifest(config.out, _KIND))
        return [Correlations(**one) for one in json.loads((config.out / "scores.json").read_text(encoding="utf-8"))]
    files = [read_pairs(path) for path in config.pairs]
    if len({pairs.path.stem for pairs in files}) < len(files):
        raise InputError("two files of --pairs have the same name, which their plots would share; rename one")
    model, tokenizer = load_model(config.model, Heads()), Tokenizer.load(config.model)
    layers = Layers(tuple(range(model.config.n_layers + 1)))
    pipeline = FeaturePipeline(make_engine(model), tokenizer, layers)
    words = list(dict.fromkeys(word for pairs in files for pair in pairs.words for word in pair))
    finder = WordFinder(tokenizer, words)
    alone = _averaged(pipeline, [Occurrence(word, word, 0, len(word), "") for word in words], progress)
    table_VD = model.encoder.embeddings.token.weight.detach().numpy()
    static = {word: table_VD[ids].mean(axis=0)[None] for word, ids in zip(words, tokenizer.token_ids(words), strict=True)}
    in_text = _averaged(pipeline, _sampled(config, finder, words, progress), progress) if config.text else None
    found = [_correlations(pairs, static, alone, in_text) for pairs in files]
    with atomic_directory(config.out) as directory:
        (directory / "table.md").write_text(_table(found), encoding="utf-8")
        scores = json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2)
        (directory / "scores.json").write_text(scores + "\n", encoding="utf-8")
        for one in found:
            (directory / f"{one.name}.svg").write_text(_plot(one) + "\n", encoding="utf-8")
        write_manifest(directory, _KIND, {"correlations": {one.name: _facts(one) for one in found}, **made_of})
    return found


def read_pairs(path: Path) -> Pairs:
    """Read two words and, the first number behind them, a score a line; a first line without a number is a header.

    Raises:
        InputError: the file cannot be read, or a line is something else.
    """
    words, scores = [], []
    for number, line in enumerate(read_lines(read_input(path), str(path)), 1):
        separator = next((mark for mark in "\t,;" if mark in line), None)
        fields = [field.strip() for field in line.split(separator)]
        score = next((value for value in map(_number, fields[2:]) if value is not None), None)
        if score is not None and all(fields[:2]):
            words.append((fields[0], fields[1]))
            scores.append(score)
        elif number > 1 and not line.isspace():
            raise InputError(
                f"{path}:{number} is not two words and a score, with tabs, commas or blanks between: {line.strip()!r:.60}"
            )
    if not words:
        raise InputError(f"{path} holds no pairs; give a file with two words and a score a line")
    return Pairs(path, words, scores)


def _number(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _sampled(config: CompareWordsConfig, finder: WordFinder, words: Sequence[str], progress: Progress) -> list[Occurrence]:
    """Return where the words occur in the text, those of one sentence together."""
    samples = {word: EvenSample[Occurrence](config.occurrences) for word in words}
    files = find_files(config.text)
    with progress.task("Searching", sum(path.stat().st_size for path in files), "bytes") as task:
        for one in occurrences(read_documents(files, config.reader, task), finder, "sentence"):
            samples[one.word].add(one)
    return sorted((one for sample in samples.values() for one in sample.items()), key=lambda one: one.text)


def _averaged(pipeline: FeaturePipeline, found: Sequence[Occurrence], progress: Progress) -> dict[str, Floats]:
    """Return each word's mean vector by layer (L, D) over its occurrences."""
    sums: dict[str, Any] = {}
    counts: dict[str, int] = {}
    with progress.task("Reading in context", len(found), "occurrences") as task:
        for one, vectors_LD in word_vectors(pipeline, found):
            sums[one.word] = sums.get(one.word, 0) + vectors_LD
            counts[one.word] = counts.get(one.word, 0) + 1
            task.advance(1)
    return {word: total / np.float32(counts[word]) for word, total in sums.items()}


def _correlations(
    pairs: Pairs, static: dict[str, Floats], alone: dict[str, Floats], in_text: dict[str, Floats] | None
) -> Correlations:
    """Compare all kinds of vectors on the pairs that have them all."""
    kinds = [static, alone] if in_text is None else [static, alone, in_text]
    kept = [place for place, pair in enumerate(pairs.words) if all(word in kind for word in pair for kind in kinds)]
    if len(kept) < _FEWEST_PAIRS:
        raise InputError(
            f"of the pairs of {pairs.path} only {len(kept)} can be compared, and at least {_FEWEST_PAIRS} must be: give "
            "more pairs, or more text that has both words"
        )
    gold = np.array([pairs.scores[place] for place in kept])
    words = [pairs.words[place] for place in kept]
    static_1, alone_L, *in_text_L = (
        [regression_scores(gold, cosines)["spearman"] for cosines in _cosines(kind, words)] for kind in kinds
    )
    return Correlations(pairs.path.stem, len(kept), len(pairs.words), static_1[0], alone_L, in_text_L[0] if in_text_L else None)


def _cosines(vectors: dict[str, Floats], words: Iterable[tuple[str, str]]) -> npt.NDArray[np.float64]:
    """Return (L, P)."""
    first_PLD, second_PLD = (
        np.stack(kind).astype(np.float64) for kind in zip(*((vectors[a], vectors[b]) for a, b in words), strict=True)
    )
    products_PL = (first_PLD * second_PLD).sum(-1)
    cosines_PL: npt.NDArray[np.float64] = products_PL / np.linalg.norm(first_PLD, axis=-1) / np.linalg.norm(second_PLD, axis=-1)
    return cosines_PL.T


def _table(found: Sequence[Correlations]) -> str:
    """Return the correlations as Markdown, a line a layer; the highest of each column is bold."""
    columns: list[tuple[str, list[float]]] = []
    for one in found:
        columns.append((f"{one.name}, alone", [one.static, *one.alone]))
        if one.in_text is not None:
            columns.append((f"{one.name}, in text", [one.static, *one.in_text]))
    n_layers = len(found[0].alone)
    names = ["input embeddings", "0 (embeddings)", *map(str, range(1, n_layers))]
    pairs = "; ".join(f"{one.name} {one.n_pairs} of {one.of}" for one in found)
    lines = [
        "| layer | " + " | ".join(name for name, _ in columns) + " |",
        "|---|" + "---:|" * len(columns),
        *(
            f"| {name} | " + " | ".join(_bold(values[row], values[row] == max(values)) for _, values in columns) + " |"
            for row, name in enumerate(names)
        ),
    ]
    return "\n".join([*lines, "", f"Spearman's correlation with people's scores. Pairs compared: {pairs}.", ""])


def _facts(one: Correlations) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "name" and value is not None}


def _bold(value: float, is_bold: bool) -> str:
    return f"**{value:.3f}**" if is_bold else f"{value:.3f}"


def _plot(one: Correlations) -> str:
    layers = list(range(len(one.alone)))
    series = [Series("alone", layers, one.alone)]
    if one.in_text is not None:
        series.append(Series("in text", layers, one.in_text))
    title = f"{one.name}: {one.n_pairs} pairs"
    reference = ("input embeddings", one.static)
    return curve_svg(series, title, "layer (0: embeddings)", "Spearman's correlation", reference=reference, size=(480, 360))
