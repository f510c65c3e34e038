"""What a process that torchrun has started knows of that. Loads in milliseconds: no torch here."""

import os
from pathlib import Path

EXIT_CODE = "ZIGPT_EXIT_CODE"  # names the file in which process 0 leaves its exit code


def is_launched() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def leave_code(code: int) -> int:
    """Leave the exit code of process 0 in a file, if `zigpt` itself has started torchrun.

    To torchrun all is well then, so it starts nothing again, unless the code is 1: another process
    is gone.
    """
    file = os.environ.get(EXIT_CODE)
    if not (file and is_launched()) or code == 1:
        return code
    if os.environ["RANK"] == "0":
        Path(file).write_text(str(code))
    return 0
