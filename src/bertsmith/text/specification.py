"""Everything that determines a BERT tokenizer, as plain values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bertsmith.errors import ArtifactError, DamagedError
from bertsmith.notices import say_once

MAX_WORD_LENGTH = 100  # BERT's: a longer word becomes [UNK]
MOST_TOKENS = 1 << 24
NEXT_ID = -1
"""The id of a token that is to get the one behind the vocabulary and the tokens before it."""
SURROGATE = re.compile("[\ud800-\udfff]")
ROLES = ("pad", "unk", "cls", "sep", "mask")


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The names of the special tokens; ``mask`` is None for a foreign tokenizer without one."""

    pad: str = "[PAD]"
    unk: str = "[UNK]"
    cls: str = "[CLS]"
    sep: str = "[SEP]"
    mask: str | None = "[MASK]"

    def names(self) -> list[str]:
        """Return the names that there are."""
        return [name for name in (self.pad, self.unk, self.cls, self.sep, self.mask) if name is not None]


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token matched in the text before WordPiece sees it; the flags are those of ``tokenizers.AddedToken``."""

    id: int
    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = True


@dataclass(frozen=True, slots=True)
class Specification:
    """A BERT tokenizer as plain values.

    ``vocabulary`` holds one entry an id; the empty string marks an id that no text maps to (a blank line or an earlier
    duplicate in ``vocab.txt``). ``strip_accents`` None means the same as ``lowercase``.
    """

    vocabulary: tuple[str, ...]
    lowercase: bool
    strip_accents: bool | None
    split_chinese: bool
    clean: bool = True
    max_word_length: int = MAX_WORD_LENGTH
    special: SpecialTokens = SpecialTokens()
    added: tuple[AddedToken, ...] = ()

    @property
    def size(self) -> int:
        """The number of ids, up to the last that text maps to; blank lines at the end of ``vocab.txt`` are none."""
        last = next((index for index in reversed(range(len(self.vocabulary))) if self.vocabulary[index]), -1)
        return 1 + max([last, *(token.id for token in self.added)])

    def ids(self) -> dict[str, int]:
        """Return token -> id."""
        return {token: index for index, token in enumerate(self.vocabulary)}


def canonical_vocabulary(entries: Sequence[str]) -> tuple[str, ...]:
    """Blank all but the last of duplicate entries: the last is the one that counts, as in BERT's own reader."""
    last = {entry: index for index, entry in enumerate(entries)}
    return tuple(entry if last[entry] == index else "" for index, entry in enumerate(entries))


def with_added_tokens(
    specification: Specification, tokens: Sequence[AddedToken], n_rows: int | None, source: str
) -> Specification:
    """Return the tokenizer with these added tokens in place of its own; the first of several of one name holds.

    Left out are a ``[MASK]`` that would be alone behind the vocabulary, since every file names one by default, and what has
    neither an id nor a place among the ``n_rows`` of a model, which is said.

    Raises:
        ArtifactError: a token has another id than the vocabulary gives it, or one that does not follow the vocabulary.
    """
    ids = specification.ids()
    found = _with_ids(ids, sorted((token for token in tokens if token.id != NEXT_ID), key=lambda token: token.id), source)
    new: dict[str, AddedToken] = {}
    for token in tokens:
        if token.content in ids:
            found.setdefault(token.content, replace(token, id=ids[token.content]))
        elif token.content not in found:
            new.setdefault(token.content, token)
    if new.keys() == {SpecialTokens().mask}:
        new = {}
    start = max(len(ids), *(token.id + 1 for token in found.values()), 0)
    behind = [replace(token, id=start + place) for place, token in enumerate(new.values())]
    left_out = [token.content for token in behind if n_rows is not None and token.id >= n_rows]
    if said := [short(content) for content in left_out if content != specification.special.mask]:
        say_once(f"{source}: left out, since the model has no rows for them: {', '.join(said)}")
    added = (*found.values(), *(token for token in behind if token.content not in left_out))
    return replace(specification, added=added)


def _with_ids(ids: Mapping[str, int], tokens: Sequence[AddedToken], source: str) -> dict[str, AddedToken]:
    """Return the tokens by name, whose ids are those that the library gives them in this order."""
    found: dict[str, AddedToken] = {}
    end = len(ids)
    for token in tokens:
        expected = found[token.content].id if token.content in found else ids.get(token.content, end)
        if token.id != expected:
            raise ArtifactError(
                f"{source}: the added token {short(token.content)} has the id {token.id} where {expected} follows; "
                "number the added tokens behind the vocabulary, without gaps"
            )
        found.setdefault(token.content, token)
        end = max(end, token.id + 1)
    return found


def short(value: object) -> str:
    """Return a value for a message, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def with_special_tokens(specification: Specification, source: str) -> Specification:
    """Check that the special tokens exist and make sure that they are matched in the text.

    Raises:
        ArtifactError: names the missing ones; a missing mask token alone is allowed, since foreign models may lack it.
    """
    ids = specification.ids() | {token.content: token.id for token in specification.added}
    special = specification.special
    if special.mask not in ids:
        special = replace(special, mask=None)
    missing = [name for name in special.names() if name not in ids or not name]
    if special.unk not in specification.vocabulary and special.unk not in missing:
        missing.append(special.unk)  # WordPiece itself answers with it, so being an added token is not enough
    if missing:
        raise ArtifactError(f"{source}: the vocabulary lacks the special tokens {', '.join(missing)}")
    known = {token.content for token in specification.added}
    try:
        "".join(ids).encode()
    except UnicodeEncodeError:
        broken = next(token for token in ids if SURROGATE.search(token))
        raise DamagedError(f"{source}: the token {short(broken)} holds a lone surrogate, which no text has") from None
    new = [AddedToken(ids[name], name) for name in special.names() if name not in known]
    added = sorted((*specification.added, *new), key=lambda token: token.id)
    return replace(specification, special=special, added=tuple(added))
