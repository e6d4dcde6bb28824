"""``bertsmith VERB``: finds the verb's module, runs it, and turns errors into a message and an exit code."""

import importlib
import logging
import os
import sys
from collections.abc import Sequence

import bertsmith
from bertsmith.cli.screen import visible
from bertsmith.errors import BertsmithError, Interrupted, UsageError
from bertsmith.signals import until_stopped

# In the order in which one uses them; each is a module of this package with a function ``run(arguments)``.
VERBS = {
    "vocab": "learn a WordPiece vocabulary from text",
    "corpus": "tokenise text into a memory-mapped corpus",
    "pretrain": "pre-train a BERT on a corpus, or go on from one",
    "fill": "fill the [MASK]s of texts",
    "finetune": "train a model for a task: classes, numbers, tags, answers, choices, rankings, vectors",
    "evaluate": "score a fine-tuned model on a labelled file, or compare two",
    "predict": "apply a fine-tuned model to a file of any size",
    "features": "write the contextual vectors of a file of texts: of tokens, of words, of texts",
    "similar": "say how alike texts are, by the vectors of a model",
    "search": "find the lines of a file that are nearest to a query",
    "rank": "rank the candidates in a file by their relevance to a query",
    "answer": "answer questions from a folder of documents",
    "senses": "cluster the occurrences of a word by what they mean in their contexts",
    "compare": "compare ways to use a model on the same data: frozen features, vectors of words",
    "inspect": "show in the browser what a model does inside",
    "convert": "turn a pytorch_model.bin directory into a safe one",
    "info": "say what a directory is and what is in it",
    "doctor": "say what this machine has, what each command would choose on it, and what would be faster",
    "bench": "measure a model here: tokens a second, latency, peak memory",
    "demo": "the whole way in a few minutes, without a network",
}

_DONE, _FAILED, _USAGE = 0, 1, 2


def main() -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 usage, 75 interrupted and resumable."""
    sys.exit(until_stopped(lambda: run(sys.argv[1:]), Interrupted.exit_code))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return _DONE if arguments else _USAGE
    if arguments[0] == "--version":
        print(f"bertsmith {bertsmith.__version__}")
        return _DONE
    _log_to_stderr()
    try:
        _refuse_bytes(arguments)
        return _run_verb(arguments[0], arguments[1:])
    except BertsmithError as error:
        print(f"{'' if isinstance(error, Interrupted) else 'error: '}{visible(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return Interrupted.exit_code
    except BrokenPipeError:
        # Whoever read our output has left; what follows must not be written to the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _DONE


def _refuse_bytes(arguments: Sequence[str]) -> None:
    """Refuse what the shell passed on in another encoding; Python has put lone surrogates in its place."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the argument {argument!r} is not UTF-8; write it so, or rename the file") from None


def _run_verb(verb: str, arguments: Sequence[str]) -> int:
    if verb not in VERBS:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the verbs are {', '.join(VERBS)}"
        raise UsageError(f"{verb!r} is not a verb of bertsmith; {hint}")
    importlib.import_module(f"bertsmith.cli.{verb}_command").run(arguments)
    return _DONE


def _help() -> str:
    verbs = "\n".join(f"  {verb:10} {summary}" for verb, summary in VERBS.items())
    return f"""usage: bertsmith VERB ...

BERT the whole way: raw text to a model that anyone can open.

{verbs}

bertsmith VERB --help shows the flags of a verb; bertsmith --version the version."""


def _log_to_stderr() -> None:
    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
            return prefix + visible(record.getMessage())

    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logger = logging.getLogger("bertsmith")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
