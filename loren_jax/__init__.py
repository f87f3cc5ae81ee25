"""Fine-tune large models in JAX with forward passes only."""
