"""What the page can ask of a model: typed requests in, values for JSON or bytes out."""
