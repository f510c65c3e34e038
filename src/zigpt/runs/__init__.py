"""What a training run leaves on disk: the run folder and the files in it."""
