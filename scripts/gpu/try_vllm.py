"""Four steps whose completions vLLM generates, where it is installed."""

from importlib.util import find_spec

from gpu_results import attempt, finish, record, skip


if find_spec("vllm") is None:
    skip("vLLM is not installed")

import torch
from datasets import Dataset
from train_smol import METHODS, PROMPTS, WORK, first_half, logged, source

from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer


def four_steps() -> None:
    folder = WORK / "vllm-model"
    model, tokenizer = source()
    model.to(dtype=torch.bfloat16).save_pretrained(folder)  # type: ignore[call-arg]
    tokenizer.save_pretrained(folder)
    args = EntropyGRPOConfig(
        output_dir=str(folder), per_device_train_batch_size=8, num_generations=4, max_completion_length=32,
        report_to="none", save_strategy="no", logging_steps=1, max_steps=4, use_vllm=True, vllm_mode="colocate",
        vllm_gpu_memory_utilization=0.2, **METHODS["SIREN"],
    )  # fmt: skip
    data = Dataset.from_dict({"prompt": list(PROMPTS) * 16})
    run = EntropyGRPOTrainer(str(folder), first_half, args, train_dataset=data, processing_class=tokenizer)
    run.train()
    record("vLLM", steps=run.state.global_step, entropy=logged(run, "entropy")[-1])


attempt("vLLM", four_steps)
finish()
