"""What an optimizer step is made of: micro-batches, the window of their sums, the scope of a statistic, the state."""
