"""The BiLSTM tagger on features."""

import pytest
import torch

from bertsmith.model.heads.recurrent import RecurrentTagger
from bertsmith.model.mixing import Layers


@pytest.mark.parametrize(("layers", "is_mixed"), [("0", False), ("concat-last-2", False), ("sum-all", False), ("0,1,2", True)])
def test_a_sentence_is_tagged_by_itself(layers, is_mixed):
    torch.manual_seed(0)
    tagger = RecurrentTagger(Layers.parse(layers, 2), is_mixed, 6, 8, 2, 3, 0.5).eval()
    layers_LMD = torch.randn(3, 12, 6)
    lengths = [4, 1, 7]
    together = tagger(layers_LMD, lengths)
    alone = torch.cat([tagger(part, [part.shape[1]]) for part in layers_LMD.split(lengths, dim=1)])
    torch.testing.assert_close(together, alone)
    assert together.shape == (12, 3)
    # Both directions and the layers count.
    changed = layers_LMD.clone()
    changed[:, 3] += 1
    assert not torch.allclose(tagger(changed, lengths)[0], together[0])
    torch.testing.assert_close(tagger(changed, lengths)[4:], together[4:])


def test_unused_layers_change_nothing():
    torch.manual_seed(0)
    tagger = RecurrentTagger(Layers((2,)), False, 6, 8, 1, 3, 0.0).eval()
    layers_LMD = torch.randn(3, 5, 6)
    expected = tagger(layers_LMD, [5])
    layers_LMD[:2] = 0
    torch.testing.assert_close(tagger(layers_LMD, [5]), expected)
