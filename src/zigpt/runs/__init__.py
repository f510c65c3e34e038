"""What a training leaves on disk: the run folder and the files in it."""
