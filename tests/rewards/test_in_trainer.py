"""The rewards inside GRPO: TRL's calling convention, metrics and completion columns."""

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from tests.conftest import tiny_model, tiny_tokenizer
from trl_entropy.rewards import MathReward, format_reward


def test_grpo_logs_the_rewards_and_their_failures(arguments):
    reward = MathReward(workers=1)
    trainer = GRPOTrainer(
        model=tiny_model(),
        reward_funcs=[reward, format_reward],
        args=GRPOConfig(**arguments(max_steps=1)),
        train_dataset=Dataset.from_dict({"prompt": ["a b", "c d e"] * 4, "solution": [r"\frac{1}{2}", "3"] * 4}),
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    logs = trainer.state.log_history[0]
    assert logs["rewards/math_reward/mean"] == 0.0
    assert logs["rewards/format_reward/mean"] == 0.0
    assert logs["math/no_answer"] == 1.0  # a word model boxes nothing
    assert logs["math/timeout"] == logs["math/crash"] == logs["math/memory"] == logs["math/unparsed"] == 0.0
    assert set(trainer._logs["extra"]["verdict"]) == {"no_answer"}
    reward.pool.close()
