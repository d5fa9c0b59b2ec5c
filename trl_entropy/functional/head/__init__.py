"""The fused head: log-probabilities, entropy and nucleus entropy from hidden states, without the logits."""
