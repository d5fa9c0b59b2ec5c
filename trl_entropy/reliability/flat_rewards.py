"""Rewards that teach nothing: every completion of a prompt gets the same one, rollout after rollout."""

import torch


ROLLOUTS = 5


class FlatRewards:
    """Finds [`ROLLOUTS`] rollouts in a row in which no prompt's rewards differ, and says so once."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self.values: set[float] = set()

    def see(self, rewards: torch.Tensor) -> str | None:
        """Take in a rollout; the warning when it is due.

        Args:
            rewards: (P, N), combined over the reward functions, of all processes; NaN where a completion has none.
        """
        unscored = rewards.isnan()
        spread = rewards.masked_fill(unscored, -torch.inf).amax(1) - rewards.masked_fill(unscored, torch.inf).amin(1)
        if self.in_a_row >= ROLLOUTS:
            return None
        if (spread > 0).any():
            self.in_a_row, self.values = 0, set()
            return None
        self.in_a_row += 1
        self.values |= {round(value, 6) for value in rewards[~unscored].tolist()}
        return _warning(self.values) if self.in_a_row == ROLLOUTS else None


def _warning(values: set[float]) -> str:
    head = f"In each of {ROLLOUTS} rollouts in a row all completions of a prompt got the same reward"
    if not values:
        return f"{head}, None: no reward function scores these rows. Look at the names of the data's columns."
    if len(values) > 1:
        return (
            f"{head} ({min(values):g} to {max(values):g} between prompts): every advantage is 0, nothing is learned. "
            "The prompts are either too easy or too hard, or the completions alike: raise num_generations or "
            "temperature, or take prompts of a difficulty between."
        )
    wrong = (
        "If that is the reward of a wrong answer, the prompts are too hard, or the reward does not find the answer: "
        "compare completions (log_completions: true) with the format that it reads, and see whether "
        "max_completion_length cuts them (completions/clipped_ratio)."
    )
    right = "If it is that of a right one, the prompts are too easy: take harder ones."
    causes = [wrong, right] if max(values) <= 0 else [right, wrong]
    return f"{head}, {max(values):g}: every advantage is 0 and nothing is learned. {' '.join(causes)}"
