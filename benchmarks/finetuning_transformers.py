"""What a careful user of transformers writes to fine-tune, as a process that trains, scores and prints.

Takes one argument, the settings as JSON, and prints for each seed the steps and the dev scores as JSON.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from finetuning import EPSILON, MAX_NORM, WARMUP, WEIGHT_DECAY, Task

MAX_ANSWER, N_BEST = 30, 20


def main() -> None:
    """Train and score."""
    settings = json.loads(sys.argv[1])
    paths = {split: Path(settings[split]) for split in ("train", "dev")}
    task = Task(**settings["task"])
    print(json.dumps([_train(task, paths, Path(settings["model"]), seed, settings["bf16"]) for seed in settings["seeds"]]))


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
            use_cpu=True,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = Trainer(problem.model, settings, problem.collator, problem.train, processing_class=tokenizer)
        steps = trainer.train().global_step
        predictions = trainer.predict([features for features, _ in dev]).predictions
    scores = problem.scores(predictions, [gold for _, gold in dev])
    return {"steps": steps, "scores": scores}


def _of_texts(task: Task, paths: dict[str, Path], model: Path, tokenizer: Any) -> Problem:
    from scipy.stats import spearmanr
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
    from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding

    *text_columns, label_column = task.columns
    parts = {}
    for split, path in paths.items():
        lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
        rows = [json.loads(line) if path.suffix == ".json" else line.split("\t") for line in lines[task.kind == "headed" :]]
        # A row on which the annotators did not agree is no example.
        rows = [row for row in rows if row[label_column] != "-"]
        texts = [[row[column] for row in rows] for column in text_columns]
        token_ids = tokenizer(*texts, truncation=True, max_length=task.max_length)
        values = [row[label_column] for row in rows]
        if split == "train":
            names = sorted(set(values))
        if task.verb == "regress":
            numbers = list(map(float, values))
            if split == "train":
                mean, deviation = statistics.mean(numbers), statistics.pstdev(numbers)
            labels = [(number - mean) / deviation for number in numbers]
        else:
            labels = [names.index(value) for value in values]
        parts[split] = [({name: values[n] for name, values in token_ids.items()}, label) for n, label in enumerate(labels)]
    kind = {"problem_type": "regression", "num_labels": 1} if task.verb == "regress" else {"num_labels": len(names)}

    def scores(logits: Any, golds: list[Any]) -> dict[str, float]:
        if task.verb == "regress":
            return {"spearman": float(spearmanr(logits[:, 0], golds).statistic)}
        found = logits.argmax(-1)
        measures = {"accuracy": accuracy_score, "f1": f1_score, "mcc": matthews_corrcoef}
        return {name: float(measures[name](golds, found)) for name in task.metrics}

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

    def features(words: list[str]) -> tuple[dict[str, Any], dict[int, int]]:
        """Return the sequence and the words' numbers by the places of their first WordPieces."""
        found = tokenizer(words, is_split_into_words=True, truncation=True, max_length=task.max_length)
        numbers = found.word_ids()
        firsts = {n: word for n, word in enumerate(numbers) if word is not None and word != numbers[n - 1]}
        return dict(found), firsts

    examples = []
    for words, tags in train:
        sequence, firsts = features(words)
        targets = [labels.index(tags[firsts[n]]) if n in firsts else -100 for n in range(len(sequence["input_ids"]))]
        examples.append({**sequence, "labels": targets})

    def scores(logits: Any, golds: list[Any]) -> dict[str, float]:
        found = [["O"] * len(tags) for _, tags in golds]  # as words that were cut off, or have no WordPiece, stay
        for own, row, (firsts, _) in zip(found, logits, golds, strict=True):
            for place, word in firsts.items():
                own[word] = labels[row[place].argmax()]
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
                    for window, spans in _windows(tokenizer, question["question"], paragraph["context"], task):
                        if split == "train":
                            examples.append({**window, **_answer_rows(spans, question["answers"][0])})
                        else:
                            pairs.append((window, (question, paragraph["context"], spans)))
    network = AutoModelForQuestionAnswering.from_pretrained(model)
    scores = partial(_answer_scores, task.language)
    return Problem(network, DataCollatorWithPadding(tokenizer), examples, pairs, scores)


def _windows(tokenizer: Any, question: str, context: str, task: Task) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    """Yield the windows of a context and for each of their tokens its characters in the context, None outside of it."""
    room = task.max_length - len(tokenizer(question)["input_ids"]) - 1
    found = tokenizer(
        *(question, context),
        truncation="only_second",
        max_length=task.max_length,
        # What neighbours share; so each begins a step after the one before.
        stride=room - task.stride,
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


def _answer_scores(language: str, logits: Any, golds: list[Any]) -> dict[str, float]:
    """Return the scores, by bertsmith's scorers, of the best spans over all windows of each question."""
    from bertsmith.tasks.scoring.answer_scores import chinese_exact_match, chinese_f1, exact_match, f1

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
    measures = (chinese_f1, chinese_exact_match) if language == "zh" else (f1, exact_match)
    answers = {name: [answer["text"] for answer in question["answers"]] for name, question in questions.items()}
    return {
        name: statistics.mean(measure(best.get(key, (0.0, ""))[1], golds) for key, golds in answers.items())
        for name, measure in zip(("f1", "exact_match"), measures, strict=True)
    }


if __name__ == "__main__":
    main()
