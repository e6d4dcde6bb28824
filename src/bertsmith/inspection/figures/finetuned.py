"""What a fine-tuned model answers, with what a page draws of it (Devlin et al. 2019, section 4)."""

import sys

import torch
from torch import Tensor

from bertsmith.engine.engine import Engine
from bertsmith.inspection.subject import Reading
from bertsmith.inspection.watcher import NOBODY, Watcher, in_parts
from bertsmith.tasks.predictor import Predictor
from bertsmith.tasks.shown import Shown
from bertsmith.tasks.task import Seen
from bertsmith.threads import threads_for
from bertsmith.types import PackedBatch


def task_answer(reading: Reading, choices: list[str] | None = None, watcher: Watcher = NOBODY) -> Shown:
    """Return what a fine-tuned model answers, as its pipeline does.

    Raises:
        Cancelled: nobody waits for it any more.
        Refusal: the model is not fine-tuned, or its task needs a second text or choices.
    """
    task, engine = reading.subject.tuned.task, reading.subject.tuned.engine
    example = task.example(task.question(reading.text, reading.pair, choices))
    assert engine.model.task is not None
    # All windows of the example come as one batch, so that it is known how many there are.
    predictor = Predictor(
        task, reading.subject.tokenizer, lambda batch: _logits(engine, batch, watcher), engine.model.task, sys.maxsize
    )
    ((_, found),) = predictor.predict([example])
    return task.shown(Seen(example, found, reading.encoding, reading.scores()))


def _logits(engine: Engine, batch: PackedBatch, watcher: Watcher) -> Tensor:
    """Return the logits of a batch, of which a part is computed at a time."""
    lengths_B, ends = batch.cu_seqlens.diff().numpy(), batch.cu_seqlens.tolist()
    found = []
    for part in in_parts(lengths_B.tolist(), watcher):
        rows = slice(ends[part.start], ends[part.stop])
        token_ids, segment_ids = batch.token_ids[rows].numpy(), batch.segment_ids[rows].numpy()
        with threads_for(len(token_ids)):
            found.append(engine.logits(PackedBatch.from_arrays(token_ids, segment_ids, lengths_B[part])))
    return torch.cat(found)
