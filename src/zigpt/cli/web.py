"""`zigpt web`: the page in the browser."""

import webbrowser

from zigpt.cli.options import WebOptions
from zigpt.device import pick_device
from zigpt.errors import UsageError
from zigpt.runs.model_file import read_model_file
from zigpt.runs.paths import newest_path


def run(options: WebOptions) -> int:
    """Serve until Ctrl-C. Returns the exit code.

    Raises:
        UsageError: the web extra is not installed.
    """
    path = options.run or newest_path()
    if not (path / "run.json").exists():
        read_model_file(path)  # refuses what is neither
    try:
        from zigpt.web.serve import serve
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the page needs {error.name}, which is not installed",
            "only `zigpt web` uses it, so it is an extra",
            "pip install 'zigpt[web]'",
        ) from error

    def say(address: str) -> None:
        print(f"{path} is shown at\n  {address}\nCtrl-C ends this.", flush=True)
        if not options.no_browser:
            webbrowser.open(address)

    serve(path, pick_device(options.device), options.host, options.port, options.allow_remote, say)
    return 0
