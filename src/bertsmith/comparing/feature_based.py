"""Feature-based training: a BiLSTM tagger on the vectors of an encoder that stays as it is (Devlin et al. 2019, section 5.3).

Dimensions: M words of a batch of sentences laid end to end, L layers with the embeddings, D width, C classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pydantic
import torch
from torch import Tensor
from torch.nn import functional as F

from bertsmith.comparing.feature_cache import Halves
from bertsmith.config import Config
from bertsmith.errors import DivergedError
from bertsmith.finetuning.task_order import epoch_batches
from bertsmith.model.heads.recurrent import RecurrentTagger
from bertsmith.model.mixing import Layers
from bertsmith.progress import Progress
from bertsmith.randomness import key
from bertsmith.tasks.kinds.tag import Tag, TagExample, Tagged
from bertsmith.training.settings import Share

_SENTENCES_AT_ONCE = 256


class BiLstm(Config):
    """The tagger on frozen features, and how it is trained."""

    width: int = pydantic.Field(default=768, ge=2)
    """Width of the BiLSTM, half of it in each direction."""
    depth: int = pydantic.Field(default=2, gt=0)
    """Layers of the BiLSTM."""
    dropout: Share = 0.3
    """Dropout before, between and behind the layers of the BiLSTM."""
    lr: float = pydantic.Field(default=1e-3, gt=0)
    """Adam's learning rate at first; it falls linearly to 0."""
    epochs: int = pydantic.Field(default=15, gt=0)
    """Passes over the training file."""
    batch_size: int = pydantic.Field(default=32, gt=0)
    """Sentences of a batch."""


@dataclass(frozen=True, slots=True)
class TaggedVectors:
    """Sentences that have words, and the vectors (M, L, D) of these, laid end to end."""

    examples: Sequence[TagExample]
    vectors: Halves

    def batch(self, places: Sequence[int], starts: Sequence[int], device: torch.device) -> tuple[Tensor, list[int]]:
        """Return the vectors (L, M, D) of some sentences, and the lengths of these; ``starts`` are those of all sentences."""
        parts = [self.vectors[starts[place] : starts[place + 1]] for place in places]
        layers_LMD = torch.from_numpy(np.concatenate(parts)).to(device).transpose(0, 1)
        return layers_LMD, [len(part) for part in parts]

    def starts(self) -> list[int]:
        """Return the first word of each sentence, and the number of all words."""
        return [0, *accumulate(len(example.words) for example in self.examples)]


def train_tagger(
    data: TaggedVectors,
    task: Tag,
    layers: Layers,
    is_mixed: bool,
    settings: BiLstm,
    seed: int,
    device: torch.device,
    progress: Progress,
) -> RecurrentTagger:
    """Train a tagger on the layers chosen; all its randomness follows from the seed.

    Raises:
        DivergedError: the loss became NaN.
    """
    numbers, starts = {label: number for number, label in enumerate(task.labels)}, data.starts()
    tags = [torch.tensor([numbers[tag] for tag in task.tags_of(example)]) for example in data.examples]
    n_steps = settings.epochs * -(-len(tags) // settings.batch_size)
    with torch.random.fork_rng(), progress.task("Training", n_steps, "steps") as shown:
        torch.manual_seed(key(seed, "tagger: weights"))
        tagger = RecurrentTagger(
            layers, is_mixed, data.vectors.shape[2], settings.width, settings.depth, len(task.labels), settings.dropout
        ).to(device)
        optimiser = torch.optim.Adam(tagger.parameters(), settings.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / n_steps)
        for step, places in enumerate(_batches(len(tags), settings, seed)):
            torch.manual_seed(key(seed, "tagger: dropout", step))
            layers_LMD, lengths = data.batch(places, starts, device)
            labels_M = torch.cat([tags[place] for place in places]).to(device)
            loss = F.cross_entropy(tagger(layers_LMD, lengths), labels_M)
            if not torch.isfinite(loss):
                raise DivergedError(f"the loss is {loss.item()} at step {step}; lower --lr")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(tagger.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            shown.advance(1)
    return tagger.eval()


def _batches(n_sentences: int, settings: BiLstm, seed: int) -> Iterator[list[int]]:
    for epoch in range(settings.epochs):
        yield from epoch_batches(n_sentences, settings.batch_size, seed, epoch)


@torch.no_grad()
def score_tagger(tagger: RecurrentTagger, data: TaggedVectors, task: Tag, device: torch.device) -> dict[str, float]:
    """Return the scores of a tagger: precision, recall and F1 over entities, and the share of right tags."""
    starts, predictions = data.starts(), []
    for first in range(0, len(data.examples), _SENTENCES_AT_ONCE):
        examples = data.examples[first : first + _SENTENCES_AT_ONCE]
        layers_LMD, lengths = data.batch(range(first, first + len(examples)), starts, device)
        probabilities_M, labels_M = tagger(layers_LMD, lengths).softmax(-1).max(-1)
        found = zip(examples, labels_M.split(lengths), probabilities_M.split(lengths), strict=True)
        for example, labels, probabilities in found:
            tags = tuple(task.labels[label] for label in labels.tolist())
            predictions.append(Tagged(example.words, tags, tuple(probabilities.tolist()), ()))
    return task.score(data.examples, predictions)
