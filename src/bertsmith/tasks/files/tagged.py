"""What a sentence of tagged words is, and where words and tags stand in a file."""

from collections.abc import Sequence
from dataclasses import dataclass

import pydantic

from bertsmith.config import Names
from bertsmith.errors import InputError
from bertsmith.sources.example_tables import TableConfig


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """The words of a sentence, and their tags, or None where they have none; ``source`` is ``file:line`` of its beginning.

    ``document`` is the number of its document in the file, from 1; 0 where the file does not say.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    source: str
    document: int = 0


WORDS = ("words", "tokens", "word", "token")
TAGS = ("tags", "ner_tags", "labels", "tag", "label", "ner", "ner_tag", "word_labels")
"""Names of columns that are found by themselves."""


class TagColumns(TableConfig):
    """Where words and tags stand in a file."""

    word_column: int | None = pydantic.Field(default=None, ge=1)
    """Which column holds the words, counted from 1; unless given, the first (CoNLL-U: the second, FORM)."""
    tag_column: int | None = pydantic.Field(default=None, ge=1)
    """Which column holds the tags, counted from 1; unless given, the last (CoNLL-U: the fourth, UPOS; 5 is XPOS)."""
    words_key: str = "words"
    """Key or column of the words in JSON, CSV, TSV and Parquet; "tokens", "word" and "token" are found by themselves too."""
    tags_key: str = "tags"
    """Key or column of the tags there; "ner_tags", "labels", "tag", "label" and "ner" are found by themselves too."""
    tag_names: Names = ()
    """What the tags are called, from that of 0 on, where the file has numbers of classes, as Hugging Face's datasets export."""
    sentence_key: str = ""
    """Column that tells the sentences apart where a row there is a word; "sentence", "sentence_id" and "Sentence #" are found
    by themselves, and an empty row separates sentences where there is none."""


def name_of_class(number: int, names: Sequence[str], source: str) -> str:
    """Return what a tag is called that is the number of a class; :class:`InputError` at ``source`` if that is not known."""
    if not names:
        raise InputError(
            f"{source}: the tag {number} is the number of a class, as datasets of Hugging Face export it; say what the classes "
            "are called, from that of 0 on, with --tag-names O,B-PER,I-PER,…"
        )
    if not 0 <= number < len(names):
        hint = ": such pieces of words and special tokens are no words, so leave them out" if number == -100 else ""
        raise InputError(f"{source}: the tag {number} is none of the {len(names)} that --tag-names names, from 0 on{hint}")
    return names[number]
