"""The model card: what a model directory's ``README.md`` says."""

from collections.abc import Mapping
from typing import Any


def model_card(title: str, facts: Mapping[str, Any], scores: Mapping[str, float], configuration: str) -> str:
    """Return the card of a pre-trained model in Markdown: how to use it, what it was made from, and its held-out scores."""
    usage = """import bertsmith

pipe = bertsmith.pipeline("path/to/this/directory")
print(pipe(["The man worked as a [MASK]."]))"""
    return _card(
        title=title,
        pipeline_tag="fill-mask",
        summary="A BERT encoder with its pre-training heads, made by bertsmith.",
        usage=usage,
        elsewhere='It opens in transformers as well: `AutoModelForPreTraining.from_pretrained("path/to/this/directory")`.',
        facts=facts,
        scores=_table({name: f"{value:.4f}" for name, value in scores.items()}) if scores else "None were measured.",
        configuration=configuration,
    )


def finetuned_card(
    *, title: str, kind: str, pipeline_tag: str, facts: Mapping[str, Any], results: str, configuration: str
) -> str:
    """Return the card of a fine-tuned model in Markdown; ``results`` is the table of its trials."""
    usage = (
        f"""import bertsmith

pipe = bertsmith.pipeline("path/to/this/directory")
print(pipe([{_EXAMPLES[kind]}]))"""
        if kind in _EXAMPLES
        else f"""import bertsmith

pipe = bertsmith.pipeline("path/to/this/directory", task={kind.title()})  # the class that defines the task"""
    )
    return _card(
        title=title,
        pipeline_tag=pipeline_tag,
        summary=f"A BERT fine-tuned with bertsmith for the task {kind}.",
        usage=usage,
        elsewhere="It is a directory of transformers' too.",
        facts=facts,
        scores=results,
        configuration=configuration,
    )


_EXAMPLES = {
    "classify": '"a text", ("a text", "and its pair")',
    "multilabel": '"a text", ("a text", "and its pair")',
    "regress": '("a text", "and its pair")',
    "tag": '"a text", ["a", "text", "as", "words"]',
    "answer": '("a question", "the context that answers it")',
    "choose": '("a prompt", ["a choice", "another"])',
    "rank": '("a query", ["a candidate", "another"])',
    "embed": '"a text", "another"',
}


def _card(
    *,
    title: str,
    pipeline_tag: str,
    summary: str,
    usage: str,
    elsewhere: str,
    facts: Mapping[str, Any],
    scores: str,
    configuration: str,
) -> str:
    return f"""---
library_name: transformers
pipeline_tag: {pipeline_tag}
tags:
- bert
- bertsmith
---

# {title}

{summary}

```python
{usage}
```

{elsewhere}

## Training

{_table(facts)}

## Held-out scores

{scores}

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
