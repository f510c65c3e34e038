"""File(s) -> decoded text -> ids -> splits -> batches."""
