"""What a frozen encoder says of the words of a file, computed once and kept on the disk.

A cache is a directory with ``vectors.npy``, memory-mapped when it is used, and a manifest that knows the model and the file.
It holds halves of a float32, whose rounding (one part in two thousand) is far below what a tagger can tell apart.

Dimensions: M words of all sentences laid end to end, L layers with the embeddings, D width.
"""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bertsmith.artifacts.directory import WEIGHTS, load_model
from bertsmith.errors import DamagedError, MismatchError
from bertsmith.files import atomic_directory, read_manifest, sha256, verify_manifest, write_manifest
from bertsmith.progress import Progress
from bertsmith.tasks.predictor import TOKEN_BUDGET, pack_samples
from bertsmith.tasks.tag import Tag, TagExample
from bertsmith.tasks.task import Sample, SampleBatch
from bertsmith.text.tokenizer import Tokenizer
from bertsmith.training.precision import Precision, apply_precision

Halves = npt.NDArray[np.float16]

_KIND = "feature cache"
_VECTORS = "vectors.npy"
_SENTENCES_AT_ONCE = 1024


def cached_vectors(
    cache: Path,
    model: Path,
    file: str,
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
        file: Where the examples are from.
        examples: Sentences of words.
        task: Says how long sentences are read in windows.
        device: Where to compute.
        dtype: Of the matrix products.
        progress: Told how many sentences are done.

    Raises:
        DamagedError: the cache is cut short or altered.
        MismatchError: it was made of another file, with another model or other windows.
    """
    facts: dict[str, Any] = {
        "model_sha256": sha256(model / WEIGHTS),
        "tokenizer": Tokenizer.load(model).digest,
        "file_sha256": sha256(Path(file)),
        "max_length": task.max_length,
        "stride": task.stride,
        "words": sum(len(example.words) for example in examples),
    }
    if not cache.exists():
        with atomic_directory(cache) as temporary:
            _compute(temporary / _VECTORS, model, examples, facts["words"], task, device, dtype, progress)
            write_manifest(temporary, _KIND, facts)
    _check(cache, facts)
    vectors: Halves = np.load(cache / _VECTORS, mmap_mode="r")
    return vectors


def _check(cache: Path, facts: dict[str, Any]) -> None:
    remedy = f"remove {cache} to have it made again"
    manifest = read_manifest(cache, _KIND)
    for name, value in facts.items():
        if manifest.get(name) != value:
            what = name.removesuffix("_sha256").replace("_", " ")
            raise MismatchError(f"{cache} was made with another {what}; {remedy}")
    try:
        verify_manifest(cache, manifest)
    except DamagedError as error:
        raise DamagedError(f"{error}; {remedy}") from None


def _compute(
    path: Path,
    model: Path,
    examples: Sequence[TagExample],
    n_words: int,
    task: Tag,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
) -> None:
    loaded, tokenizer = load_model(model), Tokenizer.load(model)
    shape = n_words, loaded.config.n_layers + 1, loaded.config.width
    precision = apply_precision(loaded.to(device), device, dtype)
    precision.compute.eval()
    vectors = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    first = 0
    with progress.task("Computing features", len(examples), "sentences") as shown:
        for at in range(0, len(examples), _SENTENCES_AT_ONCE):
            chunk = examples[at : at + _SENTENCES_AT_ONCE]
            samples = [sample for own in task.samples(chunk, tokenizer, labelled=False) for sample in own]
            stop = first + sum(len(example.words) for example in chunk)
            _read(samples, precision, device, vectors[first:stop])
            first = stop
            shown.advance(len(chunk))
    vectors.flush()


@torch.no_grad()
def _read(samples: Sequence[Sample], precision: Precision, device: torch.device, into: Halves) -> None:
    """Put the vectors of the samples' words, which follow one another, into (M, L, D)."""
    firsts = [0, *accumulate(len(sample.target.rows) for sample in samples)]
    for places in pack_samples(samples, TOKEN_BUDGET):
        batch = SampleBatch.collate([samples[place] for place in places])
        with precision.context():
            layers = precision.compute.encoder(batch.inputs.to(device), want_layers=True).layers
        vectors_TLD = torch.stack([layer.half() for layer in layers], dim=1).cpu().numpy()
        for place, start in zip(places, batch.inputs.cu_seqlens.tolist(), strict=False):
            into[firsts[place] : firsts[place + 1]] = vectors_TLD[start + samples[place].target.rows]
