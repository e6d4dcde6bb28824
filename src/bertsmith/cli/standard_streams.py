"""The standard streams of a command: open, able to say anything, and never the reason why work is lost."""

import io
import os
import sys


class _Forgiving(io.FileIO):
    """Messages that nobody reads any more, or that a full disk does not take, are lost; the work goes on."""

    def write(self, content: object, /) -> int:
        try:
            return super().write(content) or 0  # type: ignore[arg-type]
        except OSError:
            return len(content)  # type: ignore[arg-type]


def set_up_streams() -> None:
    """Make standard streams that were closed lead nowhere, and write what an encoding lacks as ``\\\\u`` and its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given: else the next file to be opened would be taken for the stream.
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    messages = io.BufferedWriter(_Forgiving(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(messages, encoding, "backslashreplace", line_buffering=True, write_through=True)
