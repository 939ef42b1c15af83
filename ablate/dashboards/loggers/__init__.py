"""Copies what runs record to Weights & Biases, MLflow or trackio."""
