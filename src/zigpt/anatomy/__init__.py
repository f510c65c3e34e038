"""What happens inside a model, shown with the model's own numbers."""
