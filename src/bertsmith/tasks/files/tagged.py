"""What a sentence of tagged words is, and where words and tags stand in a file."""

from dataclasses import dataclass

import pydantic

from bertsmith.config import Config


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """The words of a sentence, and their tags, or None where they have none; ``source`` is ``file:line`` of its beginning."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    source: str


class TagColumns(Config):
    """Where words and tags stand in a file."""

    word_column: int | None = pydantic.Field(default=None, ge=1)
    """Which column holds the words, counted from 1; unless given, the first (CoNLL-U: the second, FORM)."""
    tag_column: int | None = pydantic.Field(default=None, ge=1)
    """Which column holds the tags, counted from 1; unless given, the last (CoNLL-U: the fourth, UPOS; 5 is XPOS)."""
    words_key: str = "words"
    """Key or column of the words in JSON, CSV, TSV and Parquet; "tokens", "word" and "token" are found by themselves too."""
    tags_key: str = "tags"
    """Key or column of the tags there; "ner_tags", "labels", "tag", "label" and "ner" are found by themselves too."""
    sentence_key: str = ""
    """Column that tells the sentences apart where a row there is a word; "sentence", "sentence_id" and "Sentence #" are found
    by themselves, and an empty row separates sentences where there is none."""
