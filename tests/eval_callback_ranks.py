"""Worker of `test_eval_callback.py`: trains on two processes with and without the evaluation, compares the weights."""

import json
import os
import sys

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from tests.conftest import tiny_model, tiny_tokenizer, vowel_reward
from trl_entropy.callbacks.heldout import EvaluationCallback
from trl_entropy.evaluate.problems import Problem


def train(folder: str, evaluate: bool) -> GRPOTrainer:
    arguments = GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        report_to="none",
        logging_steps=1,
        save_strategy="no",
        max_steps=2,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        gradient_checkpointing=False,
        disable_tqdm=True,
        seed=7,
    )
    trainer = GRPOTrainer(
        model=tiny_model(),
        reward_funcs=vowel_reward,
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": ["a b", "c d e", "f g", "h i j k"] * 4}),
        processing_class=tiny_tokenizer(),
    )
    if evaluate:
        problems = [Problem(str(i), prompt, "a") for i, prompt in enumerate(["a b", "c d e f", "g"])]
        trainer.add_callback(EvaluationCallback(trainer, problems, every=1, n=4, batch_size=5))
    trainer.train()
    return trainer


if __name__ == "__main__":
    plain, watched = (train(f"{sys.argv[1]}/{name}", name == "watched") for name in ("plain", "watched"))
    pairs = zip(plain.model.parameters(), watched.model.parameters(), strict=True)
    report = {
        "processes": watched.accelerator.num_processes,
        "type": str(watched.accelerator.distributed_type),
        "same": all(torch.equal(a, b) for a, b in pairs),
        "logged": [row["heldout/pass_at_4"] for row in watched.state.log_history if "heldout/pass_at_4" in row],
    }
    with open(f"{sys.argv[1]}/rank{watched.accelerator.process_index}.json", "w") as file:
        json.dump(report, file)
    watched.accelerator.wait_for_everyone()
    os._exit(0)  # gloo's destructor sometimes hangs
