"""Does every call that a verb makes of the system, refused once, end in a line, and leave what a second run makes whole?

    python benchmarks/injected_faults.py

Runs tests/faults/test_injected_faults.py and test_flipped_bits.py over all calls, each with every error, and over many bits, of
which the suite tries a few; it takes hours. Prints how many calls each verb makes. Leaves with exit code 1 where one fails.
"""

import os
import subprocess
import sys
from pathlib import Path

FAULTS = Path(__file__).parents[1] / "tests" / "faults"


def main() -> None:
    """Run the tests."""
    files = [FAULTS / "test_injected_faults.py", FAULTS / "test_flipped_bits.py"]
    command = [sys.executable, "-m", "pytest", *files, "--durations=20"]
    sys.exit(subprocess.run(command, env={**os.environ, "BERTSMITH_ALL_FAULTS": "1"}).returncode)


if __name__ == "__main__":
    main()
