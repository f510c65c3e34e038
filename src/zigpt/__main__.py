"""Where the program begins: `python -m zigpt` is `zigpt`."""

import signal


def run() -> None:
    """Run the command line of this process."""
    python = signal.getsignal(signal.SIGINT)
    if python is signal.default_int_handler:  # elsewhere it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback of imports helps nobody
    from zigpt.cli.main import run_and_exit

    signal.signal(signal.SIGINT, python)
    run_and_exit()


if __name__ == "__main__":
    run()
