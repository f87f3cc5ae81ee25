"""What is still open, and what the documentation quotes."""
