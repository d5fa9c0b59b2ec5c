"""What a run does when something goes wrong: faults in flight, checkpoints, rewards that hang."""
