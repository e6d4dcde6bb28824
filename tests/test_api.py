"""The public Python interface that DESIGN promises, and that it is imported lazily."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bertsmith

PAGE = Path(__file__).parents[1] / "docs" / "python-api.md"


def test_names() -> None:
    assert set(bertsmith.__all__) <= set(dir(bertsmith))
    assert all(callable(getattr(bertsmith, name)) for name in bertsmith.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Tokeniser'"):
        bertsmith.Tokeniser  # noqa: B018


def test_the_page_of_the_interface_names_what_there_is_and_nothing_else() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(bertsmith.__all__)


def test_importing_it_is_light() -> None:
    script = "import sys, bertsmith; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "tokenizers", "pydantic"} & set(modules)


def test_the_way_of_the_manual(toy_directory: Path, tmp_path: Path) -> None:
    tok = bertsmith.Tokenizer.load(toy_directory / "model")
    encoded = tok.encode("the cat", pair="sees")
    assert encoded.tokens == ["[CLS]", "the", "cat", "[SEP]", "sees", "[SEP]"]
    assert encoded.segment_ids == [0, 0, 0, 0, 1, 1]

    batch = tok.pack(["the cat", ("a bird", "sees the river")])
    assert isinstance(batch, bertsmith.PackedBatch) and batch.n_sequences == 2
    model = bertsmith.load(toy_directory / "model")
    assert not model.training
    out = model(batch)
    n_tokens, width = batch.n_tokens, 32
    assert out.hidden.shape == (n_tokens, width) and out.layers is None and out.attention is None
    assert out.token_logits.shape == (n_tokens, tok.vocabulary_size) and out.next_sentence_logits.shape == (2, 2)

    full = model(batch, want_layers=True, want_attention=True)
    assert [tuple(layer.shape) for layer in full.layers] == [(n_tokens, width)] * 3
    torch.testing.assert_close(full.layers[-1], out.hidden)
    lengths = batch.cu_seqlens.diff().tolist()
    assert [[tuple(one.shape) for one in layer] for layer in full.attention] == [[(2, n, n) for n in lengths]] * 2
    for layer in full.attention:
        for one in layer:
            torch.testing.assert_close(one.sum(dim=-1), torch.ones(one.shape[:-1]))

    bertsmith.save(model, tok, tmp_path / "saved")
    again = bertsmith.load(tmp_path / "saved")
    assert torch.equal(again(batch).hidden, out.hidden)
    filled = bertsmith.pipeline(tmp_path / "saved")(["the [MASK] sees"], top=2)
    assert len(filled[0].blanks[0]) == 2
