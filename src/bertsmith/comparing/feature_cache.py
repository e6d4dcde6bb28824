"""What a frozen encoder says of the words of a file, computed once and kept on the disk.

A cache is a directory with ``vectors.npy``, memory-mapped when it is used, and a manifest that knows the model and the words.
It holds halves of a float32, whose rounding (one part in two thousand) is far below what a tagger can tell apart.

Dimensions: M words of all sentences laid end to end, L layers with the embeddings, D width.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bertsmith.artifacts.directory import load_model
from bertsmith.artifacts.weights import weights_digest
from bertsmith.errors import DamagedError, MismatchError
from bertsmith.files import (
    atomic_directory,
    exclusive,
    read_manifest,
    remove_leftovers,
    verify_manifest,
    write_manifest,
)
from bertsmith.model.bert import Heads
from bertsmith.progress import Progress
from bertsmith.sources.digests import differences
from bertsmith.tasks.kinds.tag import Tag, TagExample
from bertsmith.tasks.predictor import TOKEN_BUDGET, in_batches
from bertsmith.tasks.task import Sample, SampleBatch
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.precision import Precision, apply_precision

Halves = npt.NDArray[np.float16]

_KIND = "feature cache"
_VECTORS = "vectors.npy"
_SENTENCES_AT_ONCE = 256


def cached_vectors(
    cache: Path,
    model: Path,
    examples: Sequence[TagExample],
    task: Tag,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
) -> Halves:
    """Return the vectors (M, L, D) of each word's first WordPiece, embeddings first, from the cache or into it.

    Args:
        cache: Directory of the cache.
        model: Directory of the encoder.
        examples: Sentences of words.
        task: Says how long sentences are read in windows.
        device: Where to compute.
        dtype: Of the matrix products.
        progress: Told how many sentences are done.

    Raises:
        DamagedError: the cache is cut short or altered.
        MismatchError: it was made of other words, with another model, in other windows or in another precision.
        BusyError: another process is making it.
    """
    facts: dict[str, Any] = {
        "model_sha256": weights_digest(model),
        "tokenizer": Tokenizer.load(model).digest,
        "text_sha256": _digest(examples),
        "max_length": task.max_length,
        "stride": task.stride,
        "precision": str(dtype).removeprefix("torch."),
    }
    if not cache.exists():
        with exclusive(cache.parent):
            remove_leftovers(cache.parent)
            with atomic_directory(cache) as temporary:
                _compute(temporary / _VECTORS, model, examples, task, device, dtype, progress)
                write_manifest(temporary, _KIND, facts)
    _check(cache, facts)
    vectors: Halves = np.load(cache / _VECTORS, mmap_mode="r")
    return vectors


def _digest(examples: Sequence[TagExample]) -> str:
    """Return the SHA-256 of the words as they were read, which the columns of a file decide as well."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(json.dumps(example.words).encode())
    return digest.hexdigest()


def _check(cache: Path, facts: dict[str, Any]) -> None:
    remedy = f"remove {cache} to have it made again"
    manifest = read_manifest(cache, _KIND)
    if changed := differences({name: manifest.get(name) for name in facts}, facts):
        raise MismatchError(f"{cache} was made otherwise: {', '.join(changed.values())}; {remedy}")
    try:
        verify_manifest(cache, manifest)
    except DamagedError as error:
        raise DamagedError(f"{error}; {remedy}") from None


def _compute(
    path: Path,
    model: Path,
    examples: Sequence[TagExample],
    task: Tag,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
) -> None:
    loaded, tokenizer = load_model(model, Heads()), Tokenizer.load(model)
    n_words = sum(len(example.words) for example in examples)
    per_word = loaded.config.n_layers + 1, loaded.config.width
    precision = apply_precision(loaded.to(device), device, dtype)
    precision.compute.eval()
    heading = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": (n_words, *per_word)}
    # Not into mapped memory: there a full disk would end the program without a word.
    with path.open("wb") as file, progress.task("Computing features", len(examples), "sentences") as shown:
        np.lib.format.write_array_header_2_0(file, heading)
        for at in range(0, len(examples), _SENTENCES_AT_ONCE):
            chunk = examples[at : at + _SENTENCES_AT_ONCE]
            samples = [sample for own in task.samples(chunk, tokenizer, labelled=False) for sample in own]
            vectors = np.empty((sum(len(example.words) for example in chunk), *per_word), np.float16)
            _read(samples, precision, device, vectors)
            file.write(vectors.data)
            shown.advance(len(chunk))


@torch.no_grad()
def _read(samples: Sequence[Sample], precision: Precision, device: torch.device, into: Halves) -> None:
    """Put the vectors of the samples' words, which follow one another, into (M, L, D)."""
    firsts = [0, *accumulate(len(sample.target.rows) for sample in samples)]

    def of_words(batch: SampleBatch) -> Iterator[Halves]:
        with precision.context():
            layers = precision.compute.encoder(batch.inputs.to(device), want_layers=True).layers
        vectors_TLD = torch.stack([layer.half() for layer in layers], dim=1).cpu().numpy()
        for sample, start in zip(batch.samples, batch.inputs.cu_seqlens.tolist(), strict=False):
            yield vectors_TLD[start + sample.target.rows]

    for place, vectors in in_batches(samples, TOKEN_BUDGET, of_words):
        into[firsts[place] : firsts[place + 1]] = vectors
