"""Features of trained weights against transformers' hidden states."""

import numpy as np
import torch
import transformers

from bertsmith.artifacts.directory import load_model
from bertsmith.engine.engine import Engine
from bertsmith.inference.features import FeaturePipeline
from bertsmith.model.mixing import Layers
from bertsmith.text.tokenizer import Tokenizer

TEXTS = ["A man is playing a guitar.", "", "naïve-café's owner, Zürich, 我爱北京", "unbelievably long " * 60, "a"]


def test_every_layer_is_transformers(minilm):
    model, tokenizer = load_model(minilm), Tokenizer.load(minilm)
    pipe = FeaturePipeline(Engine(model, torch.device("cpu"), "float32"), tokenizer, Layers(tuple(range(7))))
    theirs = transformers.BertModel.from_pretrained(minilm).eval()
    for text, found in zip(TEXTS, pipe.stream(TEXTS), strict=True):
        with torch.no_grad():
            token_ids = torch.tensor([tokenizer.encode(text).token_ids])
            states = theirs(token_ids, output_hidden_states=True).hidden_states
        np.testing.assert_allclose(found.layers_LSD, torch.cat(states).numpy(), rtol=0, atol=1e-5)
