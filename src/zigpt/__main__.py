"""Where the program begins: `python -m zigpt` is `zigpt`."""

import signal


def run() -> None:
    """Run the command line of this process."""
    python = signal.getsignal(signal.SIGINT)
    if python is signal.default_int_handler:  # and not ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback out of an import
    from zigpt.cli.main import run_and_exit

    signal.signal(signal.SIGINT, python)
    run_and_exit()


if __name__ == "__main__":
    run()
