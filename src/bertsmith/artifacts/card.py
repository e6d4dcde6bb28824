"""The model card: what a model directory's ``README.md`` says, with the header that the Hugging Face hub reads."""

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tomli_w

from bertsmith.hub import name_in_cache

_PLACES = {"model", "corpus", "out", "train", "dev", "test"}
_METRICS = {"mcc": "matthews_correlation", "pearson": "pearsonr", "spearman": "spearmanr"}


@dataclass(frozen=True, slots=True)
class Origin:
    """The model that a training started from, by a name that is no place, with what its own card says of it."""

    name: str
    language: str | None = None
    license: str | None = None

    @classmethod
    def of(cls, directory: Path) -> Self:
        """Return that of a model directory: its name on the hub, that of the run it is the ``final`` of, or its own."""
        directory = directory.resolve()
        own = directory.parent.name if directory.name == "final" else directory.name
        card = directory / "README.md"
        header = _header_of(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else {}
        return cls(name_in_cache(directory) or own, header.get("language"), header.get("license"))


def _header_of(card: str) -> dict[str, str]:
    """Return the plain values of a card's header, of a list the first."""
    match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    found = re.findall(r"^(\w+):(?:[ ]+|\n- )([\w.+-]+)[ ]*$", match[1], re.MULTILINE) if match else []
    return dict(found)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of a model on a file or a dataset of the hub."""

    dataset: str
    split: str
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CardHeader:
    """What the hub is told of a model; None for what is not known."""

    title: str
    pipeline_tag: str
    base_model: str | None
    language: str | None
    license: str | None
    datasets: Sequence[str]
    evaluations: Sequence[Evaluation]

    def __str__(self) -> str:
        """Return it as YAML."""
        results = [
            {
                "task": {"type": self.pipeline_tag},
                "dataset": {"name": evaluation.dataset, "type": dataset_name(evaluation.dataset), "split": evaluation.split},
                "metrics": [
                    {"type": _METRICS.get(name, name), "name": name, "value": round(score, 6)}
                    for name, score in evaluation.scores.items()
                    if math.isfinite(score)
                ],
            }
            for evaluation in self.evaluations
        ]
        results = [result for result in results if result["metrics"]]
        values = {
            "language": self.language,
            "license": self.license,
            "library_name": "transformers",
            "pipeline_tag": self.pipeline_tag,
            "base_model": self.base_model,
            "datasets": list(dict.fromkeys(map(dataset_name, self.datasets))),
            "tags": ["bert", "bertsmith"],
            "model-index": [{"name": self.title, "results": results}] if results else None,
        }
        return "".join(f"{line}\n" for line in _yaml({name: value for name, value in values.items() if value}))


def dataset_name(source: str) -> str:
    """Return the name of a dataset of the hub, ``hub:NAME[@CONFIG]:SPLIT``, or of a file without its place."""
    if not source.startswith("hub:"):
        return Path(source).name
    name = re.sub(r"(@[^@:/]+)?:[^:/\[]+(\[.*\])?$", "", source.removeprefix("hub:"))
    return Path(name).name if name.startswith(("/", ".", "~")) else name


def _yaml(value: Any) -> list[str]:
    """Return the lines of an object or a list; texts as JSON writes them, which YAML reads too, unless they are plain words."""
    lines = []
    for name, one in value.items() if isinstance(value, dict) else ((None, one) for one in value):
        start = "-" if name is None else f"{name}:"
        if not isinstance(one, dict | list):
            lines.append(f"{start} {_scalar(one)}")
        elif name is None:
            first, *rest = _yaml(one)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        else:
            lines += [start, *(line if isinstance(one, list) else f"  {line}" for line in _yaml(one))]
    return lines


def _scalar(value: Any) -> str:
    is_word = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w.+-]*(/[\w.+-]+)?", value) is not None
    is_word = is_word and value.lower() not in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    return value if is_word else json.dumps(value, ensure_ascii=False)


def model_card(header: CardHeader, facts: Mapping[str, Any], scores: Mapping[str, float], configuration: str) -> str:
    """Return the card of a pre-trained model in Markdown: how to use it, what it was made from, and its held-out scores."""
    usage = """import bertsmith

pipe = bertsmith.pipeline("path/to/this/directory")
print(pipe(["The man worked as a [MASK]."]))"""
    return _card(
        header,
        summary="A BERT encoder with its pre-training heads, made by bertsmith.",
        usage=usage,
        elsewhere='It opens in transformers as well: `AutoModelForPreTraining.from_pretrained("path/to/this/directory")`.',
        facts=facts,
        scores=_table({name: f"{value:.4f}" for name, value in scores.items()}) if scores else "None were measured.",
        configuration=configuration,
    )


def finetuned_card(header: CardHeader, *, kind: str, facts: Mapping[str, Any], results: str, configuration: str) -> str:
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
        header,
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
    header: CardHeader,
    *,
    summary: str,
    usage: str,
    elsewhere: str,
    facts: Mapping[str, Any],
    scores: str,
    configuration: str,
) -> str:
    return f"""---
{header}---

# {header.title}

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
{without_places(configuration).strip()}
```
"""


def _table(values: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
    return f"| | |\n|---|---|\n{rows}"


def without_places(configuration: str) -> str:
    """Return the TOML of a run with the places of files and directories as they were given, those within the working
    directory, and the names alone of others, since their places say who made it."""
    return tomli_w.dumps(_named(tomllib.loads(configuration)), multiline_strings=True)


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _named(value) if isinstance(value, dict) else _name_of(key, value) for key, value in values.items()}


def _name_of(key: str, value: Any) -> Any:
    if key not in _PLACES or not isinstance(value, str) or re.match("hub:[^/.~]", value):
        return value
    path = Path(value.removeprefix("hub:"))
    is_inside = not (path.is_absolute() or path.parts[:1] == ("~",) or ".." in path.parts)
    return value if is_inside else name_in_cache(path) or path.name
