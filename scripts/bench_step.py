"""Time of one whole loss step, `_compute_loss` and its backward: plain GRPO against every method that acts in it.

    python scripts/bench_step.py          # some minutes on two quiet CPU cores
    python scripts/bench_step.py --quick  # a small model: does it run?

The policy has the shape of Qwen2.5-0.5B with fewer layers, random weights and a fixed off-policy batch; nothing is
generated or downloaded. Every repeat runs all methods, one after the other, each time beginning with the next one;
ratios are medians within a repeat. All share the same weights in memory, whose place alone can cost some per cent.
"""

import argparse
import statistics
import sys
import tempfile

import torch
from bench_head import timed
from bench_report import add_report_options, describe_machine, print_progress, report_folder, table, write_section
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.methods import METHODS, overrides


PLAIN = "plain GRPO"
ACTING = [m for m in METHODS if any(overrides(m, hook) for hook in ("select", "shape", "loss"))]
# Selection in the step itself, so that its cost is in the number
GIVEN = {PLAIN: {}} | {m.name: {**m.example, "entropy_scope": "micro_batch"} for m in ACTING}
GIVEN["SIREN"] |= {"siren_top_p": 0.8, "siren_quantile": 0.8, "siren_anchor": 1.0}
GIVEN["Clip-Cov"] |= {"clip_cov_ratio": 2e-4, "clip_cov_low": 0.0, "clip_cov_high": 10.0}
GIVEN["KL-Cov"] |= {"kl_cov_ratio": 2e-3}
BOUNDS = {m.name: 1.10 if overrides(m, "head") else 1.05 for m in ACTING}


def policy(args: argparse.Namespace) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    small = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2, "vocab_size": 4096}
    config = {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
        "num_hidden_layers": args.layers,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
        **(small if args.quick else {}),
    }
    return Qwen2ForCausalLM(Qwen2Config(**config)).to(args.device)


def share_weights(model: Qwen2ForCausalLM, first: Qwen2ForCausalLM) -> Qwen2ForCausalLM:
    for own, other in zip(model.parameters(), first.parameters(), strict=True):
        own.data = other.data
    return model


def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "<unk>": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def no_reward(completions: list, **_: object) -> list[float]:
    """The batch is fixed: nothing is ever scored."""
    return [0.0] * len(completions)


def trainer_for(method: str, args: argparse.Namespace, model: Qwen2ForCausalLM, folder: str) -> EntropyGRPOTrainer:
    config = EntropyGRPOConfig(
        output_dir=folder,
        use_cpu=args.device == "cpu",
        bf16=args.device == "cuda",
        report_to="none",
        per_device_train_batch_size=args.sequences,
        num_generations=args.sequences,
        num_iterations=2,
        max_completion_length=args.length,
        **GIVEN[method],
    )
    data = Dataset.from_dict({"prompt": ["<unk>"] * 4})
    return EntropyGRPOTrainer(model, no_reward, config, train_dataset=data, processing_class=tokenizer())


def fixed_batch(args: argparse.Namespace, vocab: int) -> dict[str, torch.Tensor]:
    """Completions of full length, advantages of both signs, old log-probabilities a little off."""
    generator = torch.Generator().manual_seed(0)
    shape = (args.sequences, args.length)
    ids = torch.randint(3, vocab, shape, generator=generator)
    batch = {
        "prompt_ids": ids[:, : args.prompt],
        "prompt_mask": torch.ones_like(ids[:, : args.prompt]),
        "completion_ids": ids,
        "completion_mask": torch.ones_like(ids),
        "advantages": torch.randn(args.sequences, generator=generator),
        "old_per_token_logps": -torch.rand(shape, generator=generator) - 11,
        "num_items_in_batch": torch.tensor(args.sequences * args.length),
    }
    return {name: value.to(args.device) for name, value in batch.items()}


def step(trainer: EntropyGRPOTrainer, batch: dict[str, torch.Tensor]) -> None:
    trainer.model.train()
    trainer.model.zero_grad()
    trainer.current_gradient_accumulation_steps = 1
    trainer._generated_at = trainer.state.global_step - 1  # KL-Cov: the policy has moved since
    trainer._compute_loss(trainer.model, dict(batch)).backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--length", type=int, default=128, help="tokens a completion")
    parser.add_argument("--prompt", type=int, default=32, help="tokens a prompt")
    parser.add_argument("--repeats", type=int, default=8, help="each begins with the next method")
    add_report_options(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.quick:
        args.repeats, args.layers, args.length = 1, 1, 16

    with tempfile.TemporaryDirectory() as folder:
        first = policy(args)
        trainers = {
            method: trainer_for(method, args, share_weights(policy(args), first) if method != PLAIN else first, folder)
            for method in GIVEN
        }
        batch = fixed_batch(args, first.config.vocab_size)
        runs: dict[str, list[dict[str, float]]] = {method: [] for method in GIVEN}
        for repeat in range(-1, args.repeats):  # the first, number -1, warms up
            order = list(GIVEN)
            for method in order[repeat % len(order) :] + order[: repeat % len(order)]:
                trainer = trainers[method]
                print_progress(f"repeat {repeat + 1}/{args.repeats}: {method}")
                run = timed(lambda trainer=trainer: step(trainer, batch), args.device)
                trainer.model.zero_grad()
                if repeat >= 0:
                    runs[method].append(run)

    lines = []
    for method, measured in runs.items():
        plain = runs[PLAIN]
        by_time, by_cpu = (
            statistics.median(a[key] / b[key] for a, b in zip(measured, plain, strict=True)) for key in ("wall", "cpu")
        )
        seconds = statistics.median(run["wall"] for run in measured)
        bound = BOUNDS.get(method)
        lines.append(
            [method, f"{seconds:.2f}", f"{by_time:.3f}", f"{by_cpu:.3f}", "" if bound is None else f"{bound}"]
        )
    columns = ("loss step", "time, s", "x plain GRPO", "x plain GRPO, CPU time", "at most")
    title = (
        f"{args.sequences} completions of {args.length} tokens, {args.layers} layers of Qwen2.5-0.5B, "
        f"{args.device}, {args.repeats} repeats"
    )
    text = table(title, lines, columns)
    print_progress(text, last=True)
    command = " ".join(["python", "scripts/bench_step.py", *sys.argv[1:]])
    parts = [describe_machine(args.device, args.threads), args.note, text, f"Command: `{command}`"]
    path = report_folder(args) / "benchmarks.md"
    write_section(path, f"step-{args.device}", "\n\n".join(part for part in parts if part))


if __name__ == "__main__":
    main()
