"""A BiLSTM tagger over the vectors of a frozen encoder (Devlin et al. 2019, section 5.3).

Dimensions: M words of B sentences laid end to end, L layers, D width of a vector, C classes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from bertsmith.model.dropout import Dropout
from bertsmith.model.mixing import Layers, ScalarMix


class RecurrentTagger(nn.Module):
    """Layers combined or mixed, a BiLSTM, and a linear layer on every word.

    Args:
        layers: Which layers of the encoder it reads.
        is_mixed: Whether it learns how much of each; otherwise they are combined as ``layers`` says, into one.
        vector_width: D of the encoder.
        width: Of the BiLSTM, half of it in each direction.
        depth: Layers of the BiLSTM.
        n_classes: C.
        dropout: On what comes into the BiLSTM, between its layers and on what comes out.
    """

    def __init__(
        self, layers: Layers, is_mixed: bool, vector_width: int, width: int, depth: int, n_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.layers = layers
        n_chosen, chosen_width = layers.shape(vector_width)
        self.mix = ScalarMix(n_chosen) if is_mixed else None
        self.dropout = Dropout(dropout)
        rate = dropout if depth > 1 else 0.0
        self.lstm = nn.LSTM(chosen_width, width // 2, num_layers=depth, bidirectional=True, dropout=rate)
        self.classifier = nn.Linear(width // 2 * 2, n_classes)

    def forward(self, layers_LMD: Float[Tensor, "L M D"], lengths: Sequence[int]) -> Float[Tensor, "M C"]:
        """Return the scores of the words of sentences of these lengths; ``layers_LMD`` has all layers, embeddings first."""
        chosen_LMD = self.layers.of(layers_LMD.unbind())
        vectors_MD = chosen_LMD[0] if self.mix is None else self.mix(chosen_LMD)
        sentences = list(torch.split(self.dropout(vectors_MD), list(lengths)))
        recurrent, _ = self.lstm(pack_sequence(sentences, enforce_sorted=False))
        scores_MC: Tensor = self.classifier(self.dropout(torch.cat(unpack_sequence(recurrent))))
        return scores_MC
