"""``bertsmith VERB``: finds the verb's module, runs it, and turns errors into a message and an exit code."""

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import bertsmith
from bertsmith.cli.screen import visible
from bertsmith.cli.standard_streams import set_up_streams
from bertsmith.cli.verbs import GROUPS, VERBS, nearest_name
from bertsmith.errors import BertsmithError, Interrupted, UsageError
from bertsmith.signals import until_stopped

_DONE, _FAILED, _USAGE = 0, 1, 2
# How PyTorch says so, on a CPU and on a GPU.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
_LOUDNESS = {"-q": -1, "--quiet": -1, "-v": 1, "--verbose": 1}


def main() -> None:
    """Run the command line and leave with its exit code: 0 done, 1 failed, 2 usage, 75 interrupted and resumable."""
    set_up_streams()
    sys.exit(until_stopped(lambda: run(sys.argv[1:]), Interrupted.exit_code))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    arguments, loudness = _take_loudness(arguments)
    _log_to_stderr(loudness)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has left; what follows must not be written to the closed pipe at exit.
        _forget_output()
        return _DONE
    except (BertsmithError, OSError, MemoryError, RuntimeError) as error:
        if (said := _said_of(error)) is None:
            raise
        if loudness > 0:
            traceback.print_exc()
        print(f"{'' if isinstance(error, Interrupted) else 'error: '}{visible(said)}", file=sys.stderr)
        if isinstance(error, OSError):
            _forget_output()
        return error.exit_code if isinstance(error, BertsmithError) else _FAILED
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return Interrupted.exit_code


def _run(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return _DONE if arguments else _USAGE
    if arguments[0] in ("-V", "--version"):
        print(f"bertsmith {bertsmith.__version__}")
        return _DONE
    _refuse_bytes(arguments)
    return _run_verb(arguments[0], arguments[1:])


def _said_of(error: Exception) -> str | None:
    """Return what is said of an error; None of one that is a fault of bertsmith's."""
    if isinstance(error, BertsmithError):
        return str(error)
    if isinstance(error, OSError):
        from bertsmith.files import reason

        return f"{error.filename}: {reason(error)}" if error.filename else reason(error)
    if isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
        return "memory ran out; use a smaller model or shorter texts, or fewer of them at a time (--batch-tokens, --batch-size)"
    return None


def _forget_output() -> None:
    with suppress(OSError):  # a stream of another program's that has no number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _take_loudness(arguments: Sequence[str]) -> tuple[list[str], int]:
    """Take ``-q`` and ``-v`` out of the arguments; return the others, and -1 for quiet, 1 for verbose, else 0."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    wanted = [_LOUDNESS[argument] for argument in arguments[:end] if argument in _LOUDNESS]
    others = [argument for argument in arguments[:end] if argument not in _LOUDNESS]
    return [*others, *arguments[end:]], wanted[-1] if wanted else 0


def _refuse_bytes(arguments: Sequence[str]) -> None:
    """Refuse what the shell passed on in another encoding; Python has put lone surrogates in its place."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the argument {argument!r} is not UTF-8; write it so, or rename the file") from None


def _run_verb(verb: str, arguments: Sequence[str]) -> int:
    if verb not in VERBS:
        raise UsageError(f"{verb!r} is not a verb of bertsmith; {nearest_name(verb, VERBS, 'the verbs are')}")
    importlib.import_module(f"bertsmith.cli.{verb}_command").run(arguments)
    return _DONE


def _help() -> str:
    groups = [
        "\n".join([f"{group}:", *(f"  {verb:10} {summary}" for verb, summary in verbs.items())])
        for group, verbs in GROUPS.items()
    ]
    return "\n\n".join(
        ["usage: bertsmith VERB ...", "BERT the whole way: raw text to a model that anyone can open.", *groups, _END]
    )


_END = """bertsmith VERB -h shows how a verb is used, bertsmith VERB --help all its flags.
-V, --version shows the version; -q, --quiet no progress; -v, --verbose where an error comes from.
Exit codes: 0 done, 1 failed, 2 usage, 75 interrupted: the same command resumes."""


def _log_to_stderr(loudness: int) -> None:
    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            when = f"{self.formatTime(record)} " if loudness > 0 else ""
            prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
            return when + prefix + visible(record.getMessage())

    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logger = logging.getLogger("bertsmith")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO if loudness >= 0 else logging.WARNING)
    logger.propagate = False
