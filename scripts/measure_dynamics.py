"""Does the covariance predict what entropy does? The theorem where it is exact, then on the built-in task.

    python scripts/measure_dynamics.py          # a quarter of an hour on a quiet CPU core
    python scripts/measure_dynamics.py --quick  # a few steps of a model that knows nothing: does it run?

Runs of strictly on-policy GRPO from the warmed-up countdown policy, which differ in the optimizer and in what is
rewarded: right answers, wrong ones, or neither (a coin). At every step the entropy is measured before and after the
update, on all tokens that the gradient saw and on tokens of held-out prompts; beside it the covariances, and the
first-order truth, the gradient of that entropy times the step that the weights took. Rows go to runs/dynamics (a run
whose rows are there is not trained again), the table to docs/law.md, the picture to docs/images/dynamics.png.
"""

import argparse
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from bench_report import add_report_options, describe_machine, print_progress, report_folder, table, write_section
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback

from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.callbacks.dynamics_watch import evaluating
from trl_entropy.functional.dynamics import dynamics_means, dynamics_sums
from trl_entropy.plots.style import new_figure, paper_style
from trl_entropy.step.observer import Observer
from trl_entropy.study.matrix import TRAINING
from trl_entropy.tasks import TASKS
from trl_entropy.tasks.warmup import WarmupSettings, load_or_warm_up


TASK = TASKS["countdown"]
FEW, SOME = 4, 64  # completions, of the 384 of a step
BLOCK = 10  # steps
# (place in the batch, prompt, completion) -> reward
REWARDS: dict[str, Callable[[int, str, str], float]] = {
    "right": lambda place, prompt, completion: float(TASK.solved(prompt, completion)),
    "wrong": lambda place, prompt, completion: 1.0 - TASK.solved(prompt, completion),
    "coin": lambda place, prompt, completion: float(zlib.crc32(f"{prompt}{completion}{place}".encode()) % 2),
}
# name -> optimizer, learning rate, what is rewarded, optimizer steps, seed
RUNS = {
    "SGD": ("sgd", 5e-3, "right", 40, 0),
    "Adam": ("adamw_torch", 1e-4, "right", 160, 0),
    "Adam, wrong answers rewarded": ("adamw_torch", 1e-4, "wrong", 80, 42),
    "Adam, a coin rewarded": ("adamw_torch", 1e-4, "coin", 80, 0),
}
Rows = dict[str, torch.Tensor]


def tabular(eta: float, natural: bool, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Change of every state's entropy by one exact step on a tabular softmax, and what the theorem says of it.

    Args:
        eta: The step size.
        natural: `z += eta A`, predicted by `-eta Cov(log pi, A)`; else the plain gradient of the expected reward,
            `z += eta d pi A` with d the state's weight, predicted by `-eta d Cov(log pi, pi A)`.
        seed: Of random logits, advantages (centred under pi) and weights of 4 states with 6 actions.
    """
    generator = torch.Generator().manual_seed(seed)
    logits, values = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    weight = torch.rand(4, 1, generator=generator, dtype=torch.float64)
    policy, logp = logits.softmax(-1), logits.log_softmax(-1)
    advantage = values - (policy * values).sum(-1, keepdim=True)
    pushed = advantage if natural else weight / weight.sum() * policy * advantage
    moved = (logits + eta * pushed).log_softmax(-1)
    change = (policy * logp).sum(-1) - (moved.exp() * moved).sum(-1)
    covariance = (policy * logp * pushed).sum(-1) - (policy * logp).sum(-1) * (policy * pushed).sum(-1)
    return change, -eta * covariance


def score(model: Any, rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probability, entropy and response of every completion token, (B, T).

    The response is what the theorem has for the plain gradient, of one sampled action a: with
    `g_b = pi_b (log pi_b + H)`, the logit step `A (e_a - pi)` changes the entropy by `-A (g_a - sum_b pi_b g_b)`,
    whose mean over a is `-Cov(log pi, pi A)`.
    """
    ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], 1)
    attention = torch.cat([rows["prompt_mask"], rows["completion_mask"]], 1)
    tokens = rows["completion_ids"]
    logits = model(input_ids=ids, attention_mask=attention).logits[:, -tokens.size(1) - 1 : -1].double()
    logp = logits.log_softmax(-1)
    policy = logp.exp()
    entropy = -(policy * logp).sum(-1)
    g = policy * (logp + entropy.unsqueeze(-1))
    chosen = tokens.unsqueeze(-1)
    response = g.gather(-1, chosen).squeeze(-1) - (policy * g).sum(-1)
    return logp.gather(-1, chosen).squeeze(-1), entropy, response


class Probe(Observer, TrainerCallback):
    """Measures every step of a trainer on all tokens that its gradient saw."""

    def __init__(self, trainer: EntropyGRPOTrainer, tokenizer: Any, heldout: int):
        self.model, self.tokenizer, self.count = cast(Any, trainer.model), tokenizer, heldout
        self.measured: list[dict[str, Any]] = []

    def before_loss(self, step: int, inputs: dict[str, Any]) -> None:
        keys = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages")
        self.rows: Rows = {key: inputs[key].clone() for key in keys}

    def others(self, step: int) -> Rows:
        """Fresh completions of held-out prompts, two each, without touching the training's random numbers."""
        prompts, generator = TASK.prompts("heldout"), torch.Generator().manual_seed(step)
        drawn = torch.randperm(len(prompts), generator=generator)[: self.count].tolist()
        texts = [prompts[i] for i in drawn for _ in range(2)]
        given = self.tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step)
            found = self.model.generate(
                **{key: given[key] for key in ("input_ids", "attention_mask")},
                do_sample=True,
                top_k=0,
                max_new_tokens=TASK.longest,
            )
        ids = found[:, given["input_ids"].size(1) :]
        ended = ids.eq(self.tokenizer.eos_token_id).long()
        return {
            "prompt_ids": given["input_ids"],
            "prompt_mask": given["attention_mask"],
            "completion_ids": ids,
            "completion_mask": (ended.cumsum(1) - ended).eq(0).long(),
        }

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        with evaluating(self.model):
            if state.global_step % BLOCK == 0:
                self.other = self.others(state.global_step)
            self.before = score(self.model, self.rows)
            mean = self.before[1][self.rows["completion_mask"].bool()].mean()
            self.slope = torch.autograd.grad(mean, list(self.model.parameters()))
            with torch.no_grad():
                self.other_before = score(self.model, self.other)[1]
        self.weights = [weight.detach().clone() for weight in self.model.parameters()]

    @torch.no_grad()
    def on_optimizer_step(self, args, state, control, **kwargs):
        with evaluating(self.model):
            after, other_after = score(self.model, self.rows)[1], score(self.model, self.other)[1]
        parts = zip(self.slope, self.model.parameters(), self.weights, strict=True)
        logp, entropy, response = (values.detach() for values in self.before)
        mask, advantages = self.rows["completion_mask"].bool(), self.rows["advantages"]
        row = {
            "step": state.global_step + 1,
            "first_order": sum((g.double() * (new - old).double()).sum().item() for g, new, old in parts),
            "response": (response * advantages.unsqueeze(-1))[mask].mean().item(),
            "other_change": (other_after - self.other_before)[self.other["completion_mask"].bool()].mean().item(),
        }
        for name, n in ((f"{FEW}", FEW), (f"{SOME}", SOME), ("all", len(mask))):
            sums = dynamics_sums(logp[:n], entropy[:n], advantages[:n], after[:n], mask[:n])
            row |= {f"{key}/{name}": value for key, value in dynamics_means(sums).items()}
        self.measured.append(row)
        print_progress(f"step {row['step']}: entropy {row['entropy_before/all']:.3f}")


def run(name: str, args: argparse.Namespace, output: Path) -> list[dict[str, Any]]:
    """The rows of a run, trained unless they are there."""
    optimizer, rate, rewarded, steps, seed = RUNS[name]
    steps = min(steps, args.steps or steps)
    path = output / f"{name.replace(',', '').replace(' ', '_')}-{steps}.jsonl"
    if path.exists():
        return [json.loads(line) for line in path.read_text().splitlines()]
    settings = WarmupSettings(steps=2) if args.quick else WarmupSettings()
    start, _ = load_or_warm_up(settings, output if args.quick else None)
    tokenizer = AutoTokenizer.from_pretrained(start)
    reward = REWARDS[rewarded]
    shared = {"learning_rate": rate, "optim": optimizer, "steps_per_generation": 1, "max_steps": steps}
    trainer = EntropyGRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(start),
        args=EntropyGRPOConfig(
            output_dir=str(output / path.stem),
            per_device_train_batch_size=args.prompts * TRAINING["num_generations"],
            max_completion_length=TASK.longest,
            seed=seed,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
            **{**TRAINING, **shared},
        ),
        reward_funcs=lambda prompts, completions, **_: [*map(reward, range(len(prompts)), prompts, completions)],
        train_dataset=TASK.dataset("train"),
        processing_class=tokenizer,
    )
    probe = Probe(trainer, tokenizer, args.prompts * 4)
    trainer.remove_callback(PrinterCallback)
    trainer.observe(probe)
    trainer.add_callback(probe)
    print_progress(name, last=True)
    trainer.train()
    path.write_text("".join(json.dumps(row) + "\n" for row in probe.measured))
    return probe.measured


def column(rows: list[dict[str, Any]], key: str) -> np.ndarray:
    return np.array([row[key] for row in rows])


def equal_signs(predicted: np.ndarray, change: np.ndarray) -> str:
    """Share of the steps with equal signs. Where every prompt's rewards are equal, 0 is predicted: left out."""
    predicted, change = predicted[predicted != 0], change[predicted != 0]
    return f"{np.mean(np.sign(predicted) == np.sign(change)):.0%}".replace("%", " %")


def correlation(predicted: np.ndarray, change: np.ndarray) -> str:
    return f"{np.corrcoef(predicted, change)[0, 1]:.2f}"


def blocks(values: np.ndarray) -> np.ndarray:
    """Means of successive blocks of steps."""
    size = min(BLOCK, len(values) // 2)
    return values[: len(values) // size * size].reshape(-1, size).mean(1)


def summary(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What the rows of a run, or of several, say: line of the table -> entry."""
    state = {n: -column(rows, f"state_covariance/{n}") for n in (f"{FEW}", f"{SOME}", "all")}
    change = {n: column(rows, f"entropy_change/{n}") for n in state}
    response, first, now = -column(rows, "response"), column(rows, "first_order"), change["all"]
    return {
        "steps": f"{len(rows)}",
        "covariance 0, as no prompt has unequal rewards": f"{np.mean(state['all'] == 0):.0%}".replace("%", " %"),
        "covariance positive": equal_signs(-state["all"], np.ones(len(rows))),
        "entropy fell": equal_signs(now, -np.ones(len(rows))),
        "equal signs, all completions": equal_signs(state["all"], now),
        f"equal signs, {SOME} completions": equal_signs(state[f"{SOME}"], change[f"{SOME}"]),
        f"equal signs, {FEW} completions": equal_signs(state[f"{FEW}"], change[f"{FEW}"]),
        "correlation, covariance centred over the batch": correlation(-column(rows, "covariance/all"), now),
        "correlation, covariance inside the states": correlation(state["all"], now),
        "correlation, plain gradient's covariance": correlation(response, now),
        f"the same, means of {BLOCK} steps": correlation(blocks(response), blocks(now)),
        "first-order truth: correlation": correlation(first, now),
        "first-order truth: realised / truth": f"{(first * now).sum() / (first * first).sum():.2f}",
    }


def totals(rows: list[dict[str, Any]]) -> dict[str, str]:
    """How far entropy went, by the sums of what was measured at each step and by the entropy of the batches."""
    logged, size = column(rows, "entropy_before/all"), min(BLOCK, len(rows) // 2)
    begin, end = logged[:size], logged[-size:]
    between = slice(size // 2, len(rows) - size + size // 2)  # from the middle of the first block to the last's
    error = np.sqrt((begin.var(ddof=1) + end.var(ddof=1)) / size)
    covariance = -column(rows, "state_covariance/all")[:-1]
    return {
        "equal signs with the next batch's entropy": equal_signs(covariance, np.diff(logged)),
        "sum of the changes, tokens trained on": f"{column(rows, 'entropy_change/all')[between].sum():+.3f}",
        "sum of the changes, tokens of other prompts": f"{column(rows, 'other_change')[between].sum():+.3f}",
        "entropy of the batches, last ten less first ten": f"{end.mean() - begin.mean():+.3f} ({error:.3f})",
    }


def draw(runs: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Covariance against change, of all completions and of a few; and the way of the entropy in the Adam run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with paper_style():
        figure, (left, middle, right) = new_figure(1, 3, (9.6, 3.2))
        for axis, n, title in ((left, "all", "all completions of a step"), (middle, f"{FEW}", f"{FEW} of them")):
            for name, marker in (("Adam", "o"), ("Adam, wrong answers rewarded", "^"), ("Adam, a coin rewarded", "x")):
                label = name.replace("Adam, ", "").replace("Adam", "right answers rewarded")
                rows = runs[name]
                x, y = column(rows, f"state_covariance/{n}"), column(rows, f"entropy_change/{n}")
                axis.plot(x, y, marker, ms=3, ls="none", alpha=0.7, label=label)
            axis.axhline(0, color="0.6", lw=0.8)
            axis.axvline(0, color="0.6", lw=0.8)
            axis.set(xlabel="covariance inside the states, nats", ylabel="entropy change, nats", title=title)
        left.legend(fontsize=7)
        rows = runs["Adam"]
        logged, steps = column(rows, "entropy_before/all"), np.arange(len(rows))
        right.plot(steps, logged, color="0.7", lw=1, label="entropy of the batch")
        for key, style, label in (
            ("entropy_change/all", "--", "changes summed, tokens trained on"),
            ("other_change", "-", "changes summed, other prompts"),
        ):
            way = np.concatenate([[0.0], column(rows, key).cumsum()[:-1]])
            right.plot(steps, logged[:BLOCK].mean() + way - way[:BLOCK].mean(), style, lw=1.5, label=label)
        right.set(xlabel="step", ylabel="entropy, nats", ylim=(0, None), title="right answers rewarded")
        right.legend(fontsize=7)
        figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="at most so many optimizer steps a run, at least 4")
    parser.add_argument("--prompts", type=int, default=24, help="prompts a step, 16 completions each")
    parser.add_argument("--only", choices=RUNS, help="train this run and report nothing")
    parser.add_argument("--output", type=Path, help="the rows' folder; by default runs/dynamics")
    add_report_options(parser)
    parser.set_defaults(threads=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.quick:
        args.steps, args.prompts = 4, 4
    if args.steps is not None and args.steps < 4:
        parser.error(f"--steps {args.steps}: give at least 4, so that there is something to correlate")
    output = args.output or Path("runs/dynamics-quick" if args.quick else "runs/dynamics")
    output.mkdir(parents=True, exist_ok=True)
    if args.only:
        run(args.only, args, output)
        return
    runs = {name: run(name, args, output) for name in RUNS}

    exact = []
    for eta in (1e-1, 1e-2, 1e-3, 1e-4):
        ratios = [change / predicted for change, predicted in (tabular(eta, True), tabular(eta, False))]
        exact.append([f"{eta:g}", *(f"{(ratio - 1).abs().max():.1e}" for ratio in ratios)])
    first = table(
        "Tabular softmax, exact gradient, 4 states: largest error of realised / predicted",
        exact,
        ("step size", "natural gradient", "plain gradient"),
    )
    entries = {name: {**summary(rows), **totals(rows)} for name, rows in runs.items()}
    pooled = summary([row for name, rows in runs.items() if name != "SGD" for row in rows])
    lines = [[line, *(entry[line] for entry in entries.values()), pooled.get(line, "")] for line in entries["SGD"]]
    second = table("Countdown, every step of every run", lines, ("", *RUNS, "the three Adam runs together"))
    print_progress(f"{first}\n\n{second}", last=True)
    rates = ", ".join(f"{name} {RUNS[name][1]:g}" for name in ("SGD", "Adam"))
    setting = f"{args.prompts} prompts a step, 16 completions each; learning rates: {rates}."
    machine = describe_machine("cpu", args.threads)
    parts = [first, second, setting, args.note, machine, "Command: `python scripts/measure_dynamics.py`"]
    folder = report_folder(args)
    write_section(folder / "law.md", "dynamics", "\n\n".join(part for part in parts if part))
    draw(runs, folder / "images" / "dynamics.png")


if __name__ == "__main__":
    main()
