"""Names of tensors in Hugging Face's BERT directories, as data.

Reading: a file's names are first brought to one spelling (:func:`canonical_names`), then each tensor of a
:class:`~bertsmith.model.bert.Bert` is taken from the names that :func:`sources` lists, laid one below the other where
there are several. Writing goes the same way back.
"""

import re
from collections.abc import Iterable

from bertsmith.errors import ArtifactError

# Spellings of older versions of transformers, and of the TensorFlow checkpoints converted by them.
_LEGACY_SPELLINGS = (
    (re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
    (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"),
    (re.compile(r"^(embeddings|encoder|pooler)\."), r"bert.\1."),
    (re.compile(r"^cls\.predictions\.decoder\.bias$"), "cls.predictions.bias"),
)

# What compiling, distributing and recomputing put into names, in whatever place.
_WRAPPERS = re.compile(r"(?<![^.])(_orig_mod|module|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# The one tensor that every BERT has shows what stands before the names of all: "bert.", nothing, or what a tool put there.
_TOKENS = "embeddings.word_embeddings.weight"

# Buffers that older versions stored and that hold nothing learned.
_BUFFERS = re.compile(r"^bert\.embeddings\.(position_ids|token_type_ids)$")

# Ours -> theirs; {layer} runs over the layers. Several names on the right are concatenated along the first dimension.
_ENCODER = {
    "encoder.embeddings.token.weight": ("bert.embeddings.word_embeddings.weight",),
    "encoder.embeddings.position.weight": ("bert.embeddings.position_embeddings.weight",),
    "encoder.embeddings.segment.weight": ("bert.embeddings.token_type_embeddings.weight",),
    "encoder.embeddings.norm.*": ("bert.embeddings.LayerNorm.*",),
    "encoder.layers.{layer}.attention.query_key_value.*": (
        "bert.encoder.layer.{layer}.attention.self.query.*",
        "bert.encoder.layer.{layer}.attention.self.key.*",
        "bert.encoder.layer.{layer}.attention.self.value.*",
    ),
    "encoder.layers.{layer}.attention.output.*": ("bert.encoder.layer.{layer}.attention.output.dense.*",),
    "encoder.layers.{layer}.attention_norm.*": ("bert.encoder.layer.{layer}.attention.output.LayerNorm.*",),
    "encoder.layers.{layer}.feed_forward_in.*": ("bert.encoder.layer.{layer}.intermediate.dense.*",),
    "encoder.layers.{layer}.feed_forward_out.*": ("bert.encoder.layer.{layer}.output.dense.*",),
    "encoder.layers.{layer}.feed_forward_norm.*": ("bert.encoder.layer.{layer}.output.LayerNorm.*",),
}
_HEADS = {
    "pooler.dense.*": ("bert.pooler.dense.*",),
    "masked_token.dense.*": ("cls.predictions.transform.dense.*",),
    "masked_token.norm.*": ("cls.predictions.transform.LayerNorm.*",),
    "masked_token.decoder": ("cls.predictions.decoder.weight",),
    "masked_token.bias": ("cls.predictions.bias",),
    "next_sentence.pooler.dense.*": ("bert.pooler.dense.*",),
    "next_sentence.classifier.*": ("cls.seq_relationship.*",),
    "task.pooler.dense.*": ("bert.pooler.dense.*",),
    "task.classifier.*": ("classifier.*",),
    "task.spans.*": ("qa_outputs.*",),
}
# Heads that transformers does not have keep their own names.
_OWN_PREFIX, _STORED_PREFIX = "task.", "task_head."
_PATTERNS = tuple(
    (
        re.compile(re.escape(ours).replace(r"\{layer\}", r"(?P<layer>\d+)").replace(r"\*", r"(?P<kind>weight|bias)") + "$"),
        theirs,
    )
    for ours, theirs in {**_ENCODER, **_HEADS}.items()
)


def canonical_names(stored: Iterable[str]) -> dict[str, str]:
    """Return for each tensor's name in today's spelling the stored one, without buffers that hold nothing learned.

    Raises:
        ArtifactError: there are several encoders, and so no telling which is meant.
    """
    names = {name: _WRAPPERS.sub("", name) for name in sorted(stored)}
    prefix = _prefix(names.values())
    spelled = {}
    # In this order the spelling that today's versions go by comes last, and holds where a file has two.
    for name, unwrapped in names.items():
        if (spelling := _canonical(unwrapped.removeprefix(prefix))) is not None:
            spelled[spelling] = name
    return spelled


def _prefix(names: Iterable[str]) -> str:
    """Return what a tool put before the names of a model, such as Lightning the attribute that holds it."""
    found = {name.removesuffix(_TOKENS).removesuffix("bert.") for name in names if f".{name}".endswith(f".{_TOKENS}")}
    if "" in found:
        return ""
    if len(found) > 1:
        raise ArtifactError(f"the weights are of several models, {', '.join(sorted(found))}; save the one that is meant alone")
    return next(iter(found), "")


def _canonical(name: str) -> str | None:
    for spelling, replacement in _LEGACY_SPELLINGS:
        name = spelling.sub(replacement, name)
    return None if _BUFFERS.match(name) else name


def sources(name: str) -> tuple[str, ...]:
    """Return Hugging Face's canonical names for the tensor that ``Bert.state_dict()`` calls ``name``."""
    for pattern, theirs in _PATTERNS:
        if match := pattern.match(name):
            parts = match.groupdict()
            return tuple(
                their.replace("{layer}", parts.get("layer", "")).replace("*", parts.get("kind", "")) for their in theirs
            )
    if name.startswith(_OWN_PREFIX):
        return (_STORED_PREFIX + name.removeprefix(_OWN_PREFIX),)
    raise KeyError(name)


def belongs_to_task(stored: str) -> bool:
    """Say whether a canonical name is that of a task's head, which means nothing to a model of another task."""
    return not stored.startswith(("bert.", "cls."))
