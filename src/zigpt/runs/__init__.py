"""What a training leaves on disk: the run folder and the files in it."""

from zigpt.runs.folder import RunFolder, free_path, newest_path
from zigpt.runs.model_file import SavedModel, load_model
from zigpt.runs.record import sample_steps

__all__ = ["RunFolder", "SavedModel", "free_path", "load_model", "newest_path", "sample_steps"]
