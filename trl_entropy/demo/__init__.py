"""The demo: a small study of what plain GRPO does to entropy and pass@16, and what entropy control changes."""
