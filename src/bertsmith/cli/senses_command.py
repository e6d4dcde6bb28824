"""``bertsmith senses``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from bertsmith.cli.flags import parse
from bertsmith.cli.screen import visible
from bertsmith.cli.standard_input import with_standard_input
from bertsmith.config import Config, JsonFlag, Positional
from bertsmith.errors import InputError, UsageError
from bertsmith.files import atomic_file
from bertsmith.progress import TerminalProgress
from bertsmith.sources.file_patterns import find_files
from bertsmith.text.readers import ReaderConfig, read_documents

if TYPE_CHECKING:
    from bertsmith.inference.features import FeaturePipeline
    from bertsmith.text.occurrences import EvenSample, Occurrence
    from bertsmith.text.tokenizer import Tokenizer
    from bertsmith.words.senses import Senses


class SensesConfig(Config):
    """Find the senses of a word: its occurrences in text files, clustered by what a model makes of them in their contexts."""

    model: Positional[Path]
    """Model directory."""
    files: Positional[tuple[str, ...]]
    """Text files, folders or globs: .txt .jsonl .csv .tsv .parquet, each also .gz .zst .xz; - for standard input."""
    word: str
    """The word, or several as one, such as "New York". Case counts only if the tokenizer keeps it."""
    layers: str = "-1"
    """Layer whose vectors are clustered, such as -2, or a combination: sum-last-4, concat-last-4, sum-all."""
    senses: Literal["auto"] | Annotated[int, pydantic.Field(ge=1)] = "auto"
    """Number of senses; auto takes the number that separates best, which may be one."""
    context: Literal["sentence", "line", "passage"] = "sentence"
    """What the model reads around the word; a passage is one of the documents of --documents."""
    max_occurrences: int = pydantic.Field(default=1000, ge=1)
    """Occurrences that the model reads; if there are more, this many are taken, evenly spread over the files."""
    plot: Path | None = None
    """SVG file to draw the occurrences into, on their first two principal components."""
    as_json: JsonFlag = False
    """Print one JSON object with every occurrence instead of lines to read."""
    reader: ReaderConfig = pydantic.Field(default_factory=ReaderConfig)


def run(arguments: Sequence[str]) -> None:
    """Print the senses."""
    config = parse(SensesConfig, arguments, "senses")
    if config.plot is not None and config.plot.is_dir():
        raise UsageError(f"--plot {config.plot} is a directory; name a file, such as {config.plot / 'senses.svg'}")

    import numpy as np

    from bertsmith.words.senses import find_senses
    from bertsmith.words.senses_shown import senses_svg, senses_text
    from bertsmith.words.word_vectors import word_vectors

    pipeline = _pipeline(config)
    with with_standard_input(config.files) as files:
        sample = _sample(config, files, pipeline.tokenizer)
    with TerminalProgress().task("Reading in context", len(sample.items()), "occurrences") as task:
        found, vectors = [], []
        for occurrence, vector_1D in word_vectors(pipeline, sample.items()):
            found.append(occurrence)
            vectors.append(vector_1D[0])
            task.advance(1)
    n_senses = None if config.senses == "auto" else config.senses
    senses = find_senses(found, np.stack(vectors), pipeline.tokenizer, n_senses)
    if config.as_json:
        print(json.dumps(_record(config, sample.seen, found, senses), ensure_ascii=False))
    else:
        print(visible(senses_text(sample.seen, found, senses)))
    if config.plot is not None:
        with atomic_file(config.plot) as temporary:
            temporary.write_text(visible(senses_svg(found, senses)) + "\n", encoding="utf-8")  # XML has no control characters


def _pipeline(config: SensesConfig) -> "FeaturePipeline":
    from bertsmith.inference.features import FeaturePipeline

    pipe = FeaturePipeline.load(config.model, config.layers)
    if pipe.layers.shape(1)[0] > 1:
        raise UsageError(f"--layers {config.layers} gives several vectors a word; name one layer, or a sum or concatenation")
    return pipe


def _sample(config: SensesConfig, names: Sequence[str], tokenizer: "Tokenizer") -> "EvenSample[Occurrence]":
    """Return the occurrences to read, at least one."""
    from bertsmith.text.occurrences import EvenSample, WordFinder, occurrences, words_like

    finder, files = WordFinder(tokenizer, [config.word]), find_files(names)
    sample: EvenSample[Occurrence] = EvenSample(config.max_occurrences)
    with TerminalProgress().task("Searching", sum(path.stat().st_size for path in files), "bytes") as task:
        for occurrence in occurrences(read_documents(files, config.reader, task), finder, config.context):
            sample.add(occurrence)
    if not sample.seen:
        near = words_like(config.word, read_documents(files, config.reader), tokenizer)
        hint = f"; words written nearly so are {', '.join(near)}" if near else ""
        raise InputError(f"{config.word!r} is not in {', '.join(config.files)}{hint}")
    return sample


def _record(config: SensesConfig, n_found: int, found: "Sequence[Occurrence]", senses: "Senses") -> dict[str, Any]:
    from bertsmith.words.senses_shown import TYPICAL

    labels, points = senses.labels(), senses.points_n2.round(4).tolist()
    return {
        "word": config.word,
        "layers": config.layers,
        "found": n_found,
        "read": len(found),
        "silhouette": senses.silhouette,
        "senses": [
            {"share": len(one.occurrences) / len(found), "words": one.words, "typical": one.occurrences[:TYPICAL]}
            for one in senses.senses
        ],
        "occurrences": [
            {"text": one.text, "start": one.start, "end": one.end, "source": one.source, "sense": label, "point": point}
            for one, label, point in zip(found, labels, points, strict=True)
        ],
    }
