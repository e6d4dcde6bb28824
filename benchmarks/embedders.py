"""Systems that turn texts into vectors, the mean over each text's tokens, every one as a careful user would run it.

A system's builder takes a :class:`Bench` and whether single texts will come (latency counts) or many (throughput counts); it
returns ``embed(texts, batch_size)``, which gives float32 (n, D) in the order of the texts. All but sentence-transformers, which
does so itself, tokenise with the fast tokenizer alone, cut at 512 tokens, and go through the texts in order of length, padding
only to the longest of each batch.
"""

import argparse
import gzip
import json
import os
import random
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from bertsmith.artifacts.configuration import read_configuration
from bertsmith.model.model_config import PRESETS, ModelConfig

Array = npt.NDArray[Any]
Embed = Callable[[list[str], int], Array]
PoolAll = Callable[[Iterable[tuple[Array, Array]]], list[Array]]
LONGEST = 512
N_REFERENCE = 1000


@dataclass(frozen=True)
class System:
    """A builder, the precision of the matrix products, and the batch sizes to choose from."""

    build: Callable[["Bench", bool], Embed]
    precision: str
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64)


@dataclass(frozen=True)
class Bench:
    """A model directory, and a folder for texts, reference vectors and what the systems make of the model."""

    model: Path
    folder: Path

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return read_configuration(self.model)[0]

    @property
    def texts(self) -> list[str]:
        """The texts, in random order."""
        texts: list[str] = json.loads((self.folder / "texts.json").read_text(encoding="utf-8"))
        return texts

    @property
    def reference(self) -> Array:
        """What transformers gives in float32 for the first texts."""
        return np.asarray(np.load(self.folder / "reference.npy"))

    def sequences(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens included, at most 512."""
        return [encoding.ids for encoding in tokenizer(self.model).encode_batch_fast(texts)]


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Add the flags that say what texts and what model."""
    flags.add_argument("text", type=Path, help="a text a line, .txt or .gz")
    flags.add_argument("--model", type=Path, required=True, help="directory with a BertModel, its tokenizer.json and vocab.txt")
    flags.add_argument("--preset", choices=PRESETS, help="random weights of this size, with the vocabulary of --model")
    flags.add_argument("--n", type=int, default=10_000, help="texts, drawn at random")
    flags.add_argument("--cache", type=Path, default=Path("runs/benchmarks"), help="where converted models are kept")


def bench(arguments: argparse.Namespace) -> Bench:
    """Return what the arguments name, made first if it is not there yet."""
    name = arguments.preset or "-".join(arguments.model.resolve().parts[-2:])
    folder = arguments.cache / f"{arguments.text.name.partition('.')[0]}-{arguments.n}-{name}"
    model = once(folder / "model", _random_model, arguments.model, arguments.preset) if arguments.preset else arguments.model
    once(folder / "texts.json", _sample, arguments.text, arguments.n)
    once(folder / "reference.npy", _reference, Bench(model, folder))
    return Bench(model, folder)


def texts_of(length: int, n: int, bench: Bench) -> list[str]:
    """Return ``n`` texts of exactly ``length`` tokens: sentences one after the other, cut behind the word that fills them."""
    encode, texts = tokenizer(bench.model, longest=None).encode, bench.texts
    found: list[str] = []
    for start in range(len(texts)):
        text = " ".join(texts[start : start + length // 4])
        encoding = encode(text)
        last = length - 2  # the token in front of which [SEP] will come
        if len(encoding.ids) > length and encoding.word_ids[last] != encoding.word_ids[last + 1]:
            found.append(text[: encoding.offsets[last][1]])
        if len(found) == n:
            return found
    raise SystemExit(f"--n {len(texts)}: too few texts to make {n} of {length} tokens")


def once(path: Path, make: Callable[..., None], *arguments: Any) -> Path:
    """Return ``path``, written by ``make(*arguments, path)`` in a process of its own if it is not there yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(make, *arguments, path).result()
    return path


def _random_model(source: Path, preset_name: str, path: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    n_layers, width, n_heads = PRESETS[preset_name]
    sizes = {"num_hidden_layers": n_layers, "hidden_size": width, "num_attention_heads": n_heads}
    torch.manual_seed(0)
    config = BertConfig(**sizes, intermediate_size=4 * width, vocab_size=read_configuration(source)[0].vocabulary_size)
    BertModel(config).save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(source / name, path)


def _sample(source: Path, n: int, path: Path) -> None:
    with (gzip.open if source.suffix == ".gz" else open)(source, "rt", encoding="utf-8") as lines:
        texts = [line.strip() for line in lines if line.strip()]
    path.write_text(json.dumps(random.Random(0).sample(texts, n)), encoding="utf-8")


def _reference(bench: Bench, path: Path) -> None:
    np.save(path, _transformers("float32", bench, False)(bench.texts[:N_REFERENCE], 16))


def _bertsmith(precision: str, bench: Bench, _single: bool) -> Embed:
    from bertsmith.inference.pipelines import pipeline
    from bertsmith.machine import keep_pages

    keep_pages()  # as the commands do
    pipe = pipeline(bench.model, precision=precision, max_length=LONGEST)
    return lambda texts, _batch_size: pipe(texts)


def _transformers(
    precision: str,
    bench: Bench,
    _single: bool,
    attention: str = "sdpa",
    compiled: bool = False,
    is_sorted: bool = True,
) -> Embed:
    import torch
    from transformers import BertModel

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    bert = BertModel.from_pretrained(bench.model, add_pooling_layer=False, dtype=dtype, attn_implementation=attention).eval()
    forward = torch.compile(bert, dynamic=True) if compiled else bert

    def pool(token_ids: Array, mask: Array) -> Array:
        is_token = torch.from_numpy(mask)
        hidden = forward(input_ids=torch.from_numpy(token_ids), attention_mask=is_token).last_hidden_state
        return _means(hidden.float().numpy(), mask)

    def pool_all(batches: Iterable[tuple[Array, Array]]) -> list[Array]:
        with torch.inference_mode():
            return [pool(*batch) for batch in batches]

    return _embed(bench, pool_all, is_sorted)


def _sentence_transformers(precision: str, bench: Bench, _single: bool) -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    encoder = Transformer(str(bench.model), max_seq_length=LONGEST, model_kwargs={"dtype": dtype})
    whole = SentenceTransformer(modules=[encoder, Pooling(encoder.get_embedding_dimension(), "mean")], device="cpu")
    return lambda texts, batch_size: whole.encode(texts, batch_size=batch_size, show_progress_bar=False)


def _onnxruntime(precision: str, bench: Bench, _single: bool, fused: bool = False) -> Embed:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    path = _onnx_fused(bench) if fused else _onnx(bench)
    path = _onnx_int8(path) if precision == "int8" else path
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(token_ids: Array, mask: Array) -> Array:
        (hidden,) = session.run(None, {"input_ids": token_ids, "attention_mask": mask})
        return _means(hidden, mask)

    return _embed(bench, lambda batches: [run(*batch) for batch in batches])


def _openvino(precision: str, bench: Bench, single: bool) -> Embed:
    """Return the system with one stream on all cores for a single text, with a stream a core and its queue for many."""
    import openvino

    path = _openvino_int8(bench) if precision == "int8" else _onnx(bench)
    settings = {
        "PERFORMANCE_HINT": "LATENCY" if single else "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled)

    def pool_all(batches: Iterable[tuple[Array, Array]]) -> list[Array]:
        vectors: dict[int, Array] = {}

        def keep(request: Any, place: tuple[int, Array]) -> None:
            number, mask = place
            vectors[number] = _means(request.get_output_tensor(0).data, mask)

        queue.set_callback(keep)
        for number, (token_ids, mask) in enumerate(batches):
            queue.start_async({"input_ids": token_ids, "attention_mask": mask}, (number, mask))
        queue.wait_all()
        return [vectors[number] for number in range(len(vectors))]

    return _embed(bench, pool_all)


def tokenizer(model: Path, longest: int | None = LONGEST) -> Tokenizer:
    """Return the model's fast tokenizer, which cuts texts at ``longest`` tokens."""
    made = Tokenizer.from_file(str(model / "tokenizer.json"))
    made.no_padding()
    if longest is None:
        made.no_truncation()
    else:
        made.enable_truncation(longest)
    return made


def _embed(bench: Bench, pool_all: PoolAll, is_sorted: bool = True) -> Embed:
    tokenise = tokenizer(bench.model).encode_batch_fast

    def embed(texts: list[str], batch_size: int) -> Array:
        sequences = [encoding.ids for encoding in tokenise(texts)]
        order = sorted(range(len(texts)), key=lambda index: -len(sequences[index])) if is_sorted else list(range(len(texts)))
        batches = (
            _padded([sequences[index] for index in order[start : start + batch_size]])
            for start in range(0, len(order), batch_size)
        )
        vectors = np.concatenate(pool_all(batches))
        ordered = np.empty_like(vectors)
        ordered[order] = vectors
        return ordered

    return embed


def _padded(sequences: list[list[int]]) -> tuple[Array, Array]:
    """Return token ids, 0 where a sequence has ended, and the mask of tokens."""
    lengths = np.array([len(sequence) for sequence in sequences])
    mask = np.arange(lengths.max()) < lengths[:, None]
    token_ids = np.zeros(mask.shape, dtype=np.int64)
    token_ids[mask] = np.concatenate(sequences)
    return token_ids, mask.astype(np.int64)


def _means(hidden: Array, mask: Array) -> Array:
    sums = (mask[:, None].astype(np.float32) @ hidden)[:, 0]
    return np.asarray(sums / mask.sum(axis=1, keepdims=True))


def _onnx(bench: Bench) -> Path:
    return once(bench.folder / "encoder.onnx", _export, bench.model)


def _export(model: Path, path: Path) -> None:
    """Write the encoder with named inputs and free axes, in plain operations, which is what the optimisers know."""
    import torch
    from transformers import BertModel

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel.from_pretrained(model, add_pooling_layer=False, attn_implementation="eager")

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "texts", 1: "tokens"} for name in [*names, "hidden"]}
    inputs = (torch.ones(2, 16, dtype=torch.int64), torch.ones(2, 16, dtype=torch.int64).tril(13))
    torch.onnx.export(
        *(Encoder().eval(), inputs, str(path)), input_names=names, output_names=["hidden"], dynamic_axes=axes, dynamo=False
    )


def _onnx_fused(bench: Bench) -> Path:
    return once(bench.folder / "fused.onnx", _fuse, _onnx(bench), bench.config)


def _fuse(plain: Path, config: ModelConfig, path: Path) -> None:
    """Write the encoder with ONNX Runtime's own fused attention, norms and activations."""
    from onnxruntime.transformers.optimizer import optimize_model

    fused = optimize_model(str(plain), "bert", num_heads=config.n_heads, hidden_size=config.width, opt_level=0)
    fused.save_model_to_file(str(path))


def _onnx_int8(path: Path) -> Path:
    return once(path.with_stem(f"{path.stem}-int8"), _quantise, path)


def _quantise(plain: Path, path: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Shapes behind fused operators cannot be inferred.
    options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(plain, path, per_channel=True, weight_type=QuantType.QInt8, extra_options=options)


def _openvino_int8(bench: Bench) -> Path:
    return once(bench.folder / "openvino-int8.xml", _calibrate, bench, _onnx(bench))


def _calibrate(bench: Bench, plain: Path, path: Path) -> None:
    """Write the encoder with weights and activations in int8, whose ranges are those of 300 texts."""
    import nncf
    import openvino

    names = ("input_ids", "attention_mask")
    sequences = bench.sequences(bench.texts[:300])
    examples = nncf.Dataset([dict(zip(names, _padded([sequence]), strict=True)) for sequence in sequences])
    encoder = openvino.Core().read_model(plain)
    quantised = nncf.quantize(encoder, examples, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(sequences))
    openvino.save_model(quantised, path, compress_to_fp16=False)


PRECISIONS = ("float32", "bf16", "int8")
SYSTEMS: dict[str, System] = {
    **{f"bertsmith {precision}": System(partial(_bertsmith, precision), precision, (1,)) for precision in PRECISIONS},
    "transformers float32, unsorted (default)": System(partial(_transformers, "float32", is_sorted=False), "float32", (32,)),
    "transformers float32": System(partial(_transformers, "float32"), "float32"),
    "transformers float32, compiled": System(partial(_transformers, "float32", compiled=True), "float32"),
    "transformers bf16": System(partial(_transformers, "bf16"), "bf16"),
    "transformers bf16, eager attention": System(partial(_transformers, "bf16", attention="eager"), "bf16"),
    "transformers bf16, compiled": System(partial(_transformers, "bf16", compiled=True), "bf16"),
    "sentence-transformers float32": System(partial(_sentence_transformers, "float32"), "float32"),
    "sentence-transformers bf16": System(partial(_sentence_transformers, "bf16"), "bf16"),
    "ONNX Runtime float32": System(partial(_onnxruntime, "float32", fused=True), "float32"),
    "ONNX Runtime int8": System(partial(_onnxruntime, "int8"), "int8"),
    "ONNX Runtime int8, fused": System(partial(_onnxruntime, "int8", fused=True), "int8"),
    **{f"OpenVINO {precision}": System(partial(_openvino, precision), precision) for precision in PRECISIONS},
}
