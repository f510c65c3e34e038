"""Files -> decoded text -> ids -> splits -> batches; also surveys and baselines of a text."""
