"""Where the metrics of a training can go; metrics.jsonl is always one of them."""
