"""A short run that reports to one tracker: `python -m tests.runlog.tracked_run TRACKER FOLDER`.

A process of its own, because trackers take their folders from the environment when they are imported.
"""

import sys
from pathlib import Path

from datasets import Dataset

from tests.conftest import tiny_model, tiny_tokenizer, vowel_reward
from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.callbacks.pictures import PictureCallback


def train(tracker: str, folder: Path) -> None:
    """Five steps with SIREN, an evaluation after the fourth, images after the fourth and the last."""
    dataset = Dataset.from_dict({"prompt": ["a b", "c d e", "f g", "h i j k"] * 4})
    args = EntropyGRPOConfig(
        output_dir=str(folder),
        run_name="tiny",
        project="tests",
        report_to=tracker,
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="no",
        max_steps=5,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=4,
        num_generations=4,
        steps_per_generation=2,
        max_completion_length=8,
        gradient_checkpointing=False,
        disable_tqdm=True,
        siren_coef=0.1,
        seed=7,
    )
    trainer = EntropyGRPOTrainer(
        tiny_model(),
        vowel_reward,
        args,
        train_dataset=dataset,
        eval_dataset=dataset.select(range(4)),
        processing_class=tiny_tokenizer(),
    )
    trainer.add_callback(PictureCallback(trainer, every=4))
    trainer.train()


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]))
