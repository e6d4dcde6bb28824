"""The model card: what a model directory's ``README.md`` says."""

from collections.abc import Mapping
from typing import Any


def model_card(title: str, facts: Mapping[str, Any], scores: Mapping[str, float], configuration: str) -> str:
    """Return a card in Markdown: how to use the model, what it was made from, its held-out scores and its configuration."""
    return f"""---
library_name: transformers
pipeline_tag: fill-mask
tags:
- bert
- bertsmith
---

# {title}

A BERT encoder with its pre-training heads, made by bertsmith.

```python
import bertsmith

pipe = bertsmith.pipeline("path/to/this/directory")
print(pipe(["The man worked as a [MASK]."]))
```

It opens in transformers as well: `AutoModelForPreTraining.from_pretrained("path/to/this/directory")`.

## Training

{_table(facts)}

## Held-out scores

{_table({name: f"{value:.4f}" for name, value in scores.items()}) if scores else "None were measured."}

## Limits

The model knows the text it was trained on and repeats its biases. Check it on your own data before relying on it.

## Configuration

```toml
{configuration.strip()}
```
"""


def _table(values: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
    return f"| | |\n|---|---|\n{rows}"
