"""Sentences with blanks whose filling is recorded as training goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bertsmith.corpus.store import Corpus
from bertsmith.errors import UsageError
from bertsmith.model.bert import Bert
from bertsmith.randomness import bits, key
from bertsmith.tasks.fill import blanks_at
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.types import Encoding, PackedBatch

_PROBES, _TOP = 6, 5
_SHORTEST, _LONGEST = 8, 30
_SENTENCES_TRIED = 2000


@dataclass(frozen=True, slots=True)
class ProbeSentence:
    """A sentence as tokens with one blank, and the token that stood there where it is known."""

    text: str
    answer: str | None
    token_ids: list[int]


def given_probes(texts: Sequence[str], tokenizer: Tokenizer, max_positions: int) -> list[ProbeSentence]:
    """Return the user's own probes; :class:`UsageError` for one without exactly one blank, or too long."""
    return [_given(text, tokenizer.encode(text), tokenizer, max_positions) for text in texts]


def _given(text: str, encoding: Encoding, tokenizer: Tokenizer, max_positions: int) -> ProbeSentence:
    n_blanks = sum(token_id == tokenizer.mask_id for token_id in encoding.token_ids)
    if n_blanks != 1 or len(encoding.token_ids) > max_positions:
        raise UsageError(f"--probes {text!r}: a probe has exactly one [MASK] and at most {max_positions} tokens")
    return ProbeSentence(text, None, encoding.token_ids)


def held_out_probes(corpus: Corpus, documents: npt.NDArray[np.int64], tokenizer: Tokenizer) -> list[ProbeSentence]:
    """Choose sentences of held-out documents and blank one whole word in each, the same ones in every run."""
    sentences = np.concatenate([np.arange(*corpus.document_offsets[document : document + 2]) for document in documents])
    order = np.argsort(bits(key("probes"), sentences))[:_SENTENCES_TRIED]
    probes: list[ProbeSentence] = []
    for sentence in sentences[order]:
        if len(probes) == _PROBES:
            break
        probes.extend(_blanked(corpus, int(sentence), tokenizer))
    return probes


def _blanked(corpus: Corpus, sentence: int, tokenizer: Tokenizer) -> Iterator[ProbeSentence]:
    start, stop = (int(offset) for offset in corpus.sentence_offsets[sentence : sentence + 2])
    if not _SHORTEST <= stop - start <= _LONGEST:
        return
    token_ids = corpus.tokens[start:stop].tolist()
    tokens = [tokenizer.tokens[token_id] for token_id in token_ids]
    starts_word = [*corpus.starts_word(np.arange(start, stop)).tolist(), True]
    words = [
        place for place, token in enumerate(tokens) if starts_word[place] and starts_word[place + 1] and _is_telling(token)
    ]
    if not words or tokenizer.mask_id is None:
        return
    place = words[int(bits(key("probe word"), np.array([sentence]))[0] % np.uint64(len(words)))]
    before, after = token_ids[:place], token_ids[place + 1 :]
    text = f"{tokenizer.decode(before)} {tokenizer.tokens[tokenizer.mask_id]} {tokenizer.decode(after)}"
    probe_ids = [tokenizer.cls_id, *before, tokenizer.mask_id, *after, tokenizer.sep_id]
    yield ProbeSentence(text.strip(), tokens[place], probe_ids)


def _is_telling(token: str) -> bool:
    """Say whether guessing this token shows anything: a longer word, or a word of a script that writes without spaces."""
    return token.isalpha() and (len(token) > 3 or not token.isascii())


def fill_probes(model: Bert, tokenizer: Tokenizer, probes: Sequence[ProbeSentence]) -> list[dict[str, Any]]:
    """Return each probe with the likeliest tokens for its blank, as a record of ``metrics.jsonl`` holds them."""
    if not probes or tokenizer.mask_id is None:
        return []
    lengths = np.array([len(probe.token_ids) for probe in probes])
    token_ids = np.concatenate([np.array(probe.token_ids) for probe in probes])
    batch = PackedBatch.from_arrays(token_ids, np.zeros_like(token_ids), lengths)
    device = model.encoder.embeddings.token.weight.device
    filled = blanks_at(tokenizer.mask_id, partial(_token_scores, model), tokenizer.tokens, batch.to(device), _TOP)
    return [
        {
            "text": probe.text,
            "answer": probe.answer,
            "predictions": [[candidate.token, candidate.probability] for candidate in candidates],
        }
        for probe, candidates in zip(probes, filled, strict=True)
    ]


def _token_scores(model: Bert, batch: PackedBatch, positions: Tensor) -> Tensor:
    scores: Tensor = model(batch, positions=positions).token_logits
    return scores
