"""Where the metrics of a training run can go; metrics.jsonl is always one of them."""
