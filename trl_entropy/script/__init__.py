"""What `trl-entropy grpo` runs: arguments, inputs, data, monitors, launch."""
