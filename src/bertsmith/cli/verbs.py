"""The verbs by what they are for, in the order in which one uses them, and an example of each.

Each verb is a module of this package with a function ``run(arguments)``.
"""

from collections.abc import Collection

GROUPS = {
    "From text to a model": {
        "vocab": "learn a WordPiece vocabulary from text",
        "corpus": "tokenise text into a memory-mapped corpus",
        "pretrain": "pre-train a BERT on a corpus, or go on from one",
        "data": "say what labelled files hold, and what is doubtful in them, before training",
        "finetune": "train a model for a task: classes, numbers, tags, answers, choices, rankings, vectors",
    },
    "From a model to answers": {
        "fill": "fill the [MASK]s of texts",
        "predict": "apply a fine-tuned model to a file of any size",
        "similar": "say how alike texts are, by the vectors of a model",
        "search": "find the lines of a file that are nearest to a query",
        "rank": "rank the candidates in a file by their relevance to a query",
        "answer": "answer questions from a folder of documents",
        "features": "write the contextual vectors of a file of texts: of tokens, of words, of texts",
        "senses": "cluster the occurrences of a word by what they mean in their contexts",
    },
    "How good, and why": {
        "evaluate": "score a fine-tuned model on a labelled file, or compare two",
        "compare": "compare ways to use a model on the same data: frozen features, vectors of words",
        "inspect": "show in the browser what a model does inside",
    },
    "Directories and the machine": {
        "info": "say what a directory is and what is in it",
        "convert": "turn a pytorch_model.bin directory into a safe one",
        "doctor": "say what this machine has, what each command would choose on it, and what would be faster",
        "bench": "measure a model here: tokens a second, latency, peak memory",
        "demo": "the whole way in a few minutes, without a network",
    },
}
VERBS = {verb: summary for verbs in GROUPS.values() for verb, summary in verbs.items()}

_FINETUNE = {
    "classify": "train.tsv --dev dev.tsv --lr 5e-5,3e-5 --seeds 3",
    "multilabel": "train.tsv --dev dev.tsv",
    "regress": "sts-train.tsv --dev sts-dev.tsv",
    "tag": "train.conll --dev dev.conll --decoder crf",
    "answer": "train.json --dev dev.json --paragraphs 4",
    "choose": "swag-train.csv --dev swag-dev.csv",
    "rank": "WikiQA-train.tsv --dev WikiQA-dev.tsv",
    "embed": "pairs.tsv --dev sts-dev.tsv",
}
_ARGUMENTS = {
    "vocab": "reviews.txt.gz --size 10000 --out vocabulary",
    "corpus": "reviews.txt.gz --tokenizer vocabulary --out corpus",
    "pretrain": "--corpus corpus --model mini --budget 30m --out run",
    "data": "train.tsv --dev dev.tsv --model run/final --out data.html",
    **{f"finetune {task}": f"--model run/final --out tuned --train {flags}" for task, flags in _FINETUNE.items()},
    "finetune multi": "tasks.toml",
    "fill": 'run/final "The man worked as a [MASK]."',
    "predict": "tuned/final new.tsv > predictions.jsonl",
    "similar": 'vectors/final "a man is cooking" "someone prepares food"',
    "search": 'vectors/final notes.txt "how do I cook rice?" --index index',
    "rank": 'ranker/final "who wrote Hamlet?" candidates.txt',
    "answer": 'reader/final --documents handbook/ "who is liable for damage?"',
    "features": "run/final texts.txt --layers concat-last-4 --words mean --out vectors.parquet",
    "senses": "run/final reviews.txt.gz --word bank --plot bank.svg",
    "evaluate": "tuned/final dev.tsv --against other/final",
    "compare features": "--model run/final --train train.conll --dev dev.conll --out table",
    "compare words": "--model run/final --pairs WS-353.txt --text reviews.txt.gz --out table",
    "inspect": "run/final",
    "info": "run/final",
    "convert": "old-model new-model",
    "doctor": "",
    "bench": "tuned/final --file new.txt",
    "demo": "",
}
EXAMPLES = {verb: f"bertsmith {verb} {arguments}".rstrip() for verb, arguments in _ARGUMENTS.items()}


def nearest_name(name: str, known: Collection[str], are: str) -> str:
    """Return a hint at the known name that is most like the one given, or at all of them."""
    import difflib  # of no use where nothing is wrong

    found = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {found[0]!r}?" if found else f"{are} {', '.join(known)}"
