"""Ways of using a model side by side: frozen features and fine-tuning."""
