"""Time, memory and bytes."""
