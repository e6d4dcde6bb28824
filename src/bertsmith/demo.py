"""The whole way in a few minutes: the English that every machine has, to a BERT that fills in blanks.

The text is the documentation strings of Python's standard library and of the installed packages, read from the source files
without importing them.
"""

import ast
import inspect
import logging
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from bertsmith.corpus.build import CorpusConfig, build_corpus
from bertsmith.engine.engine import make_engine
from bertsmith.files import atomic_file
from bertsmith.inference.pipelines import FillPipeline
from bertsmith.pretraining.options import ExampleSettings, PretrainConfig, PretrainOptimisation, PretrainRecord
from bertsmith.pretraining.run import pretrain, starting_model
from bertsmith.progress import Progress
from bertsmith.text.vocabulary import VocabularyConfig, build_vocabulary

_MOST_CHARACTERS = 6_000_000
_PARAGRAPH = re.compile(r"\n\s*\n")
_FEWEST_WORDS = 6
# Checkpoints, so that the training film shows how the model comes about.
_SAVE_EVERY, _KEPT = 100, 6
_BLANKS = (
    "Return a list of all the [MASK] in the dictionary.",
    "If the file does not [MASK], an exception is raised.",
    "This method returns [MASK] if the object is empty.",
    "The default value is [MASK].",
    "Raises an error if the [MASK] is invalid.",
)

log = logging.getLogger("bertsmith")


def demo(directory: Path, budget: str, say: Callable[[str], None], progress: Progress) -> Path:
    """Go the whole way in ``directory``, each stage unless it is there already, and return the run's directory.

    Args:
        directory: Where vocabulary, corpus and run go.
        budget: Time for pre-training, e.g. ``3m``.
        say: Shows a line to the user.
        progress: Shows the stages' progress.

    Raises:
        UsageError: the budget is no time.
    """
    text, vocabulary, corpus, run = (directory / name for name in ("docstrings.txt", "vocabulary", "corpus", "run"))
    config = PretrainConfig(
        corpus=corpus,
        out=run,
        model="mini",
        budget=budget,
        examples=ExampleSettings(max_length=32),
        optimisation=PretrainOptimisation(batch_tokens=2048, learning_rate=1e-3, warmup=0.1, dropout=0.0),
        record=PretrainRecord(evaluate_every=250, evaluation_tokens=20_000, save_every=_SAVE_EVERY, keep=_KEPT),
    )
    config.check()
    if not text.exists():
        n_modules = write_docstrings(text)
        say(
            f"1. Text: the documentation strings of {n_modules:,} Python modules, {text.stat().st_size / 1e6:.1f} MB, in {text}"
        )
    if not vocabulary.exists():
        build_vocabulary(VocabularyConfig(files=[str(text)], out=vocabulary, size=8000), progress)
        say(f"2. Vocabulary: 8,000 WordPieces in {vocabulary}")
    if not corpus.exists():
        built = build_corpus(CorpusConfig(files=[str(text)], tokenizer=vocabulary, out=corpus), progress)
        say(f"3. Corpus: {built.n_sentences:,} sentences, {built.n_tokens:,} tokens in {corpus}")
    say(f"4. Pre-training a BERT of 4 layers for {budget}: masked tokens and next sentences")
    final = pretrain(config, progress)
    for line in _before_and_after(config, final):
        say(line)
    say(f"\nThe model is {final}; the report is {run / 'report.html'}. Try:")
    say(f"  bertsmith fill {final} 'Return the [MASK] of the list.'")
    return run


def write_docstrings(path: Path) -> int:
    """Write the documentation strings found on this machine to ``path``, a module a document; return how many modules."""
    n_modules = n_characters = 0
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for document in _documents():
            file.write(document + "\n\n")
            n_modules += 1
            n_characters += len(document)
            if n_characters > _MOST_CHARACTERS:
                break
    return n_modules


def _documents() -> Iterator[str]:
    seen: set[str] = set()
    for source in _sources():
        paragraphs = [paragraph for paragraph in dict.fromkeys(_prose(source)) if paragraph not in seen]
        seen.update(paragraphs)
        if len(paragraphs) > 1:
            yield "\n".join(paragraphs)


def _sources() -> Iterator[Path]:
    paths = sysconfig.get_paths()
    for folder in (paths["stdlib"], paths["purelib"]):
        for source in sorted(Path(folder).rglob("*.py")):
            inside = source.relative_to(folder).parts
            if not {"test", "tests", "testing", "idlelib", "site-packages"} & set(inside):
                yield source


def _prose(source: Path) -> Iterator[str]:
    """Yield the paragraphs of a module's documentation strings that are sentences, each on one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of source files that are not ours
            tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for paragraph in _PARAGRAPH.split(inspect.cleandoc(ast.get_docstring(node, clean=False) or "")):
            line = " ".join(paragraph.split())
            is_sentence = line[:1].isalpha() and line[-1:] in ".!?" and len(line.split()) >= _FEWEST_WORDS
            if is_sentence and line.isprintable() and ">>>" not in line:
                yield line


def _before_and_after(config: PretrainConfig, final: Path) -> Iterator[str]:
    trained = FillPipeline.load(final)
    untrained = FillPipeline(make_engine(starting_model(config, trained.tokenizer).eval()), trained.tokenizer)
    yield "\n5. Blanks filled, before and after:"
    for before, after in zip(untrained(_BLANKS, 3), trained(_BLANKS, 3), strict=True):
        yield f"\n  {after.text}"
        for name, filled in (("before", before), ("after", after)):
            shown = "  ".join(f"{candidate.token} {candidate.probability:.0%}" for candidate in filled.blanks[0])
            yield f"    {name:7} {shown}"
