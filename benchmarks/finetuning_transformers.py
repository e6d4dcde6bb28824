"""The other side of finetuning.py: what a careful user of transformers writes, as a process that trains, scores and prints.

Takes one argument, the settings as JSON, and prints the training seconds and the dev scores as JSON.
"""

import json
import re
import statistics
import string
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetuning import EPSILON, MAX_NORM, WARMUP, WEIGHT_DECAY, WINDOW_STEP, Task

MAX_ANSWER, N_BEST = 30, 20


def main() -> None:
    """Train and score."""
    settings = json.loads(sys.argv[1])
    paths = {split: Path(settings[split]) for split in ("train", "dev")}
    task = Task(**settings["task"])
    print(json.dumps(_train(task, paths, Path(settings["model"]), settings["seed"], settings["bf16"])))


@dataclass(frozen=True)
class Problem:
    """A model, what it learns from, dev examples with what is right, and their scores."""

    model: Any
    collator: Any
    train: list[dict[str, Any]]
    dev: list[tuple[dict[str, Any], Any]]
    scores: Callable[[Any, list[Any]], dict[str, float]]


def _train(task: Task, paths: dict[str, Path], model: Path, seed: int, bf16: bool) -> dict[str, Any]:
    from transformers import AutoTokenizer, Trainer, TrainingArguments, logging, set_seed

    logging.set_verbosity_error()
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(model)
    pose = {"classify": _of_texts, "regress": _of_texts, "tag": _of_words, "answer": _of_questions}[task.verb]
    problem = pose(task, paths, model, tokenizer)
    dev = sorted(problem.dev, key=lambda pair: len(pair[0]["input_ids"]))
    with tempfile.TemporaryDirectory() as directory:
        settings = TrainingArguments(
            directory,
            num_train_epochs=task.epochs,
            learning_rate=task.learning_rate,
            per_device_train_batch_size=task.batch_size,
            per_device_eval_batch_size=64,
            lr_scheduler_type="linear",
            warmup_steps=WARMUP,
            weight_decay=WEIGHT_DECAY,
            adam_epsilon=EPSILON,
            max_grad_norm=MAX_NORM,
            seed=seed,
            bf16=bf16,
            train_sampling_strategy="group_by_length",
            use_cpu=True,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = Trainer(problem.model, settings, problem.collator, problem.train, processing_class=tokenizer)
        training_seconds = trainer.train().metrics["train_runtime"]
        # Grouped by length, predictions would come in another order than the examples.
        trainer.args.train_sampling_strategy = "sequential"
        predictions = trainer.predict([features for features, _ in dev]).predictions
    return {"training_seconds": training_seconds, "scores": problem.scores(predictions, [gold for _, gold in dev])}


def _of_texts(task: Task, paths: dict[str, Path], model: Path, tokenizer: Any) -> Problem:
    from scipy.stats import spearmanr
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
    from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding

    *text_columns, label_column = task.columns
    parts = {}
    for split, path in paths.items():
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")]
        rows = rows[1:] if task.kind == "headed" else rows
        texts = [[row[column] for row in rows] for column in text_columns]
        token_ids = tokenizer(*texts, truncation=True, max_length=task.max_length)
        labels = [float(row[label_column]) if task.verb == "regress" else int(row[label_column]) for row in rows]
        parts[split] = [({name: values[n] for name, values in token_ids.items()}, label) for n, label in enumerate(labels)]
    kind = {"problem_type": "regression", "num_labels": 1} if task.verb == "regress" else {"num_labels": 2}

    def scores(logits: Any, golds: list[Any]) -> dict[str, float]:
        if task.verb == "regress":
            return {"spearman": float(spearmanr(logits[:, 0], golds).statistic)}
        found = logits.argmax(-1)
        measures = {"accuracy": accuracy_score, "f1": f1_score, "mcc": matthews_corrcoef}
        return {name: float(measure(golds, found)) for name, measure in measures.items()}

    return Problem(
        AutoModelForSequenceClassification.from_pretrained(model, **kind),
        DataCollatorWithPadding(tokenizer),
        [{**features, "label": label} for features, label in parts["train"]],
        parts["dev"],
        scores,
    )


def _of_words(task: Task, paths: dict[str, Path], model: Path, tokenizer: Any) -> Problem:
    from seqeval.metrics import f1_score
    from transformers import AutoModelForTokenClassification, DataCollatorForTokenClassification

    train, dev = (list(_tagged(path, *task.columns)) for path in (paths["train"], paths["dev"]))
    labels = sorted({tag for _, tags in train for tag in tags})

    def features(words: list[str]) -> tuple[dict[str, Any], list[int]]:
        """Return the sequence and the places of the words' first WordPieces."""
        found = tokenizer(words, is_split_into_words=True, truncation=True, max_length=task.max_length)
        numbers = found.word_ids()
        firsts = [n for n, word in enumerate(numbers) if word is not None and word != numbers[n - 1]]
        return dict(found), firsts

    examples = []
    for words, tags in train:
        sequence, firsts = features(words)
        targets = dict(zip(firsts, map(labels.index, tags), strict=False))
        examples.append({**sequence, "labels": [targets.get(n, -100) for n in range(len(sequence["input_ids"]))]})

    def scores(logits: Any, golds: list[Any]) -> dict[str, float]:
        found = [[labels[n] for n in row[firsts].argmax(-1)] for row, (firsts, _) in zip(logits, golds, strict=True)]
        # Words that were cut off count as outside of entities.
        found = [row + ["O"] * (len(tags) - len(row)) for row, (_, tags) in zip(found, golds, strict=True)]
        right = [
            one == other for row, (_, tags) in zip(found, golds, strict=True) for one, other in zip(row, tags, strict=True)
        ]
        entities = {"f1": float(f1_score([tags for _, tags in golds], found))} if "f1" in task.metrics else {}
        return {**entities, "accuracy": sum(right) / len(right)}

    pairs = [(sequence, (firsts, tags)) for words, tags in dev for sequence, firsts in [features(words)]]
    network = AutoModelForTokenClassification.from_pretrained(model, num_labels=len(labels))
    return Problem(network, DataCollatorForTokenClassification(tokenizer), examples, pairs, scores)


def _tagged(path: Path, word_column: int, tag_column: int) -> Iterator[tuple[list[str], list[str]]]:
    """Yield words and tags of the sentences of a CoNLL or CoNLL-U file, IOB1 as IOB2."""
    separator, is_conllu = ("\t", True) if path.suffix == ".conllu" else (" ", False)
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        rows = [line.split(separator) for line in block.split("\n")]
        rows = [row for row in rows if row[0].isdecimal()] if is_conllu else rows
        tags = [row[tag_column] for row in rows]
        for n, (before, tag) in enumerate(zip(["O", *tags], tags.copy(), strict=False)):
            if tag.startswith("I-") and before[2:] != tag[2:]:
                tags[n] = f"B-{tag[2:]}"
        yield [row[word_column] for row in rows], tags


def _of_questions(task: Task, paths: dict[str, Path], model: Path, tokenizer: Any) -> Problem:
    from transformers import AutoModelForQuestionAnswering, DataCollatorWithPadding

    examples, pairs = [], []
    for split, path in paths.items():
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    for window, spans in _windows(tokenizer, question["question"], paragraph["context"], task.max_length):
                        if split == "train":
                            examples.append({**window, **_answer_rows(spans, question["answers"][0])})
                        else:
                            pairs.append((window, (question, paragraph["context"], spans)))
    network = AutoModelForQuestionAnswering.from_pretrained(model)
    return Problem(network, DataCollatorWithPadding(tokenizer), examples, pairs, _answer_scores)


def _windows(tokenizer: Any, question: str, context: str, max_length: int) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Yield the windows of a context and for each of their tokens its characters in the context, None outside of it."""
    room = max_length - len(tokenizer(question)["input_ids"]) - 1
    found = tokenizer(
        *(question, context),
        truncation="only_second",
        max_length=max_length,
        # What neighbours share; so each begins a step after the one before.
        stride=room - WINDOW_STEP,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    for n, offsets in enumerate(found["offset_mapping"]):
        spans = [span if part == 1 else None for span, part in zip(offsets, found.sequence_ids(n), strict=True)]
        yield {name: found[name][n] for name in tokenizer.model_input_names}, spans


def _answer_rows(spans: list[Any], answer: dict[str, Any]) -> dict[str, int]:
    """Return the rows of an answer's first and last token, those of [CLS] where it is not wholly in the window."""
    start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
    rows = [n for n, span in enumerate(spans) if span and span[0] < end and span[1] > start]
    is_inside = rows and spans[rows[0]][0] <= start and spans[rows[-1]][1] >= end
    return {"start_positions": rows[0], "end_positions": rows[-1]} if is_inside else {"start_positions": 0, "end_positions": 0}


def _answer_scores(logits: Any, golds: list[Any]) -> dict[str, float]:
    """Return SQuAD's scores of the best spans over all windows of each question."""
    best: dict[str, tuple[float, str]] = {}
    questions = {}
    for starts, ends, (question, context, spans) in zip(*logits, golds, strict=True):
        questions[question["id"]] = question
        first_rows, last_rows = ((-row[: len(spans)]).argsort()[:N_BEST].tolist() for row in (starts, ends))
        for first in first_rows:
            for last in last_rows:
                if spans[first] and spans[last] and first <= last < first + MAX_ANSWER:
                    found = float(starts[first] + ends[last]), context[spans[first][0] : spans[last][1]]
                    best[question["id"]] = max(best.get(question["id"], found), found)
    scored = [_squad(best.get(name, (0.0, ""))[1], question["answers"]) for name, question in questions.items()]
    return {
        name: statistics.mean(values) for name, values in zip(("exact_match", "f1"), zip(*scored, strict=True), strict=True)
    }


def _squad(found: str, answers: list[dict[str, Any]]) -> tuple[float, float]:
    """Return exact match and F1 over words with the best of the answers, as SQuAD v1.1 compares them."""

    def words(text: str) -> list[str]:
        letters = "".join(letter for letter in text.lower() if letter not in string.punctuation)
        return re.sub(r"\b(a|an|the)\b", " ", letters).split()

    scores = []
    for gold in (words(answer["text"]) for answer in answers):
        shared = (Counter(words(found)) & Counter(gold)).total()
        scores.append((float(words(found) == gold), 2 * shared / max(1, len(words(found)) + len(gold))))
    return max(score for score, _ in scores), max(score for _, score in scores)


if __name__ == "__main__":
    main()
