"""What a configuration will do, before it costs a GPU hour: `examine(plan)` gives the findings, `render` the text."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..methods.described import active
from ..reliability.log_files import METRICS_FILE
from ..runlog import RunLogError
from ..runlog.json_files import read_jsonl
from .memory import GIB, PROMPT, USABLE, ModelShape, model_shape, training_bytes, vllm_bytes
from .planned import Plan
from .published import published_settings


@dataclass(frozen=True)
class Findings:
    """What was found, section by section: title -> lines. `problems` are settings without effect and other traps."""

    sections: dict[str, list[str]]
    problems: list[str]


def examine(plan: Plan) -> Findings:
    """Say what the plan will do.

    Example:
        ```python
        print(render(examine(read_plan("configs/siren.yaml", processes=8))))
        ```
    """
    return Findings(
        sections={
            "Method": _method(plan),
            "Updates": _updates(plan),
            "Tokens": _tokens(plan),
            "Memory": _memory(plan),
            "Hours": _hours(plan),
            "Compared with the paper": _compared(plan),
        },
        problems=[*plan.warnings, *(line for rule in _RULES for line in rule(plan))],
    )


def render(findings: Findings) -> str:
    """The findings as text."""
    parts = [f"{title}\n" + "\n".join(f"  {line}" for line in lines) for title, lines in findings.sections.items()]
    problems = "\n".join(f"  - {problem}" for problem in findings.problems) or "  none"
    return "\n\n".join([*parts, f"Settings without effect, and traps\n{problems}"])


def _method(plan: Plan) -> list[str]:
    args = plan.args
    lines = active(args)
    if args.entropy_methods:
        wide = {"batch": "the whole batch, all processes", "micro_batch": "each micro-batch of each process"}
        lines.append(f"Statistics and selections over {wide[args.entropy_scope]}.")
    if args.entropy_coef:
        lines.append(
            f"Naive bonus (TRL's entropy_coef): {args.entropy_coef:g} * mean entropy of all tokens and words."
        )
    if args.use_adaptive_entropy:
        lines.append("Adaptive entropy coefficient (TRL's use_adaptive_entropy).")
    if args.top_entropy_quantile < 1:
        lines.append(f"Policy gradient on the top {args.top_entropy_quantile:g} of tokens by entropy only (TRL's).")
    return lines or ["Plain GRPO: no entropy control is on."]


def _updates(plan: Plan) -> list[str]:
    args, steps = plan.args, plan.steps_per_rollout
    prompts = plan.rollout // (args.num_generations or 1)
    lines = [
        f"{plan.processes} process(es), --num_processes N plans for N; a rollout is {prompts} prompts x "
        f"{args.num_generations} completions.",
        f"{_number(steps)} optimizer step(s) a rollout, each on {plan.completions_per_step} completions "
        f"({args.per_device_train_batch_size} a device x {args.gradient_accumulation_steps} accumulated).",
    ]
    if args.strictly_on_policy:
        lines.append("Strictly on-policy: the policy never moves between a generation and its use; every ratio is 1.")
    else:
        lines.append(f"Off-policy: from the second step of a rollout on ({_share(1 - 1 / steps)} of all steps).")
    if args.max_steps > 0:
        rollouts = math.ceil(args.max_steps / steps)
        lines.append(f"{args.max_steps} optimizer steps: {rollouts} rollouts, {rollouts * prompts} prompts.")
    return lines


def _tokens(plan: Plan) -> list[str]:
    args = plan.args
    if not args.max_completion_length:
        return ["No limit on the completion length, so no bound on the tokens of a rollout."]
    most = plan.rollout * args.max_completion_length
    lines = [f"At most {most:,} tokens a rollout, if every completion runs to {args.max_completion_length}."]
    if args.siren_coef:
        step = plan.completions_per_step * args.max_completion_length
        lines.append(
            f"SIREN regularizes about {_number(step * (1 - args.siren_quantile))} of at most {step:,} tokens a step."
        )
    for name, ratio in (("Clip-Cov", args.clip_cov_ratio), ("KL-Cov", args.kl_cov_ratio)):
        if ratio:
            counts = [max(1, math.floor(ratio * tokens)) for tokens in (most, most // 4)]
            lines.append(
                f"{name} selects at most {counts[0]:,} tokens a rollout ({counts[0] / plan.steps_per_rollout:,.1f} a "
                f"step), {counts[1]:,} if the mean length is a quarter of the limit."
            )
            if args.entropy_scope == "micro_batch":
                micro = args.per_device_train_batch_size * args.max_completion_length
                lines.append(
                    f"In micro-batch scope at least one of {micro:,} tokens: a share of {1 / micro:.1g} or more."
                )
    if args.kl_cov_ratio:
        lines.append(
            f"KL-Cov acts in {_share(1 - 1 / plan.steps_per_rollout)} of the steps: not in a rollout's first."
        )
    return lines


def _memory(plan: Plan) -> list[str]:
    from ..functional.head.fused import TILE_BYTES

    args, model = plan.args, plan.model
    shape = model_shape(model.model_name_or_path)
    if shape is None:
        return [
            f"{model.model_name_or_path or 'no model'}: neither in a local folder, nor in the Hub's cache, nor among "
            "the known models."
        ]
    rows, length = args.per_device_train_batch_size, args.max_completion_length or 0
    dense = rows * length * shape.vocabulary * 4
    lines = [
        f"{model.model_name_or_path}: vocabulary {shape.vocabulary:,}, hidden size {shape.hidden:,}.",
        f"Logits of a micro-batch: would be {dense / GIB:.2f} GiB in float32, and again for their gradient; the fused "
        f"head holds one tile of {min(TILE_BYTES['cuda'], dense) / GIB:.2f} GiB.",
    ]
    if not shape.known:
        return lines
    half = 2 if model.dtype in ("bfloat16", "float16") else 4
    parts = training_bytes(
        shape,
        rows * (length + PROMPT),
        weight=0.6 if model.load_in_4bit else 1 if model.load_in_8bit else half,
        lora=model.lora_r if model.use_peft else None,
        checkpointing=args.gradient_checkpointing,
        shards=plan.shards,
    )
    total = sum(parts.values()) / GIB
    beside = args.vllm_gpu_memory_utilization if args.use_vllm and args.vllm_mode == "colocate" else 0.0
    listed = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items())
    lines.append(
        f"Training, computed for {rows} x ({PROMPT:,} + {length:,}) tokens: {total:.1f} GiB a process ({listed})."
    )
    if beside:
        lines.append(f"vLLM takes {beside:g} of the GPU; an engine of its own needs {_engine(plan, shape):.1f} GiB.")
    wanted = (
        max(total / (USABLE - beside), _engine(plan, shape) / beside if beside else 0) if beside < USABLE else None
    )
    lines.append(f"That fits GPUs of {math.ceil(wanted)} GB or more." if wanted else "That fits no GPU.")
    return lines


def _engine(plan: Plan, shape: ModelShape) -> float:
    length = PROMPT + (plan.args.max_completion_length or 0)
    return vllm_bytes(shape, length, plan.args.vllm_tensor_parallel_size) / GIB


def _hours(plan: Plan) -> list[str]:
    folder, steps = str(plan.args.output_dir), plan.args.max_steps
    try:
        rows, _ = read_jsonl(Path(folder, METRICS_FILE))
        seconds = [row["step_time"] for _, row in rows if isinstance(row.get("step_time"), float)]
    except RunLogError:
        seconds = []
    if not seconds:
        return [f"Not known before a step is measured: train a few into {folder} (--max_steps 5), and ask again."]
    mean = sum(seconds) / len(seconds)
    whole = f": {steps} steps take {steps * mean / 3600:.1f} hours, evaluations aside" if steps > 0 else ""
    return [f"{mean:.2g} s a step, measured in {folder}{whole}."]


def _compared(plan: Plan) -> list[str]:
    source, settings, code = published_settings(plan.args)
    lines = [f"{source}, for a 7B model. Equal where not listed."]
    for name, wanted in settings.items():
        have = getattr(plan.args, name)
        have = getattr(have, "value", have)
        if have != wanted:
            theirs = f", its code {have}" if code.get(name) == have else ""
            lines.append(f"{name:<28} here {have!s:<14} paper {wanted}{theirs}")
    return lines if len(lines) > 1 else [f"{source}: every setting is that of its 7B model."]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value > 100 else f"{value:.2f}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


# --- settings without effect, beyond those that the arguments refuse themselves --------------------------------------

# arguments (by name or beginning) -> what they act with, and whether it is on
_INERT: Mapping[tuple[str, ...], tuple[str, Callable[[Plan], Any]]] = {
    ("vllm_",): ("use_vllm: true", lambda plan: plan.args.use_vllm),
    ("lora_",): ("use_peft: true", lambda plan: plan.model.use_peft),
    ("hub_",): ("push_to_hub: true", lambda plan: plan.args.push_to_hub),
    ("entropy_coef_", "entropy_target"): ("use_adaptive_entropy: true", lambda plan: plan.args.use_adaptive_entropy),
    ("eval_steps", "num_generations_eval", "dataset_test_split"): (
        "eval_strategy",
        lambda plan: plan.args.eval_strategy != "no",
    ),
    ("sync_ref_model", "ref_model_"): ("beta above 0", lambda plan: plan.args.beta),
    ("warmup_",): ("an lr_scheduler_type that warms up", lambda plan: plan.args.lr_scheduler_type != "constant"),
    ("epsilon",): (
        "off-policy updates, as every ratio is 1: raise generation_batch_size (or steps_per_generation, whichever the "
        "file sets), or set num_iterations to 2",
        lambda plan: not plan.args.strictly_on_policy,
    ),
    ("num_processes",): (
        "several processes: accelerate_config single_gpu starts one; take multi_gpu, zero3 or fsdp2",
        lambda plan: plan.launcher.get("distributed_type") != "NO" or int(plan.launcher["num_processes"]) == 1,
    ),
}


def _inert(plan: Plan) -> list[str]:
    return [
        f"{', '.join(names)}: no effect without {need}."
        for beginnings, (need, on) in _INERT.items()
        if (names := sorted(name for name in plan.given if name.startswith(beginnings))) and not on(plan)
    ]


def _few_tokens(plan: Plan) -> list[str]:
    args = plan.args
    ratio = args.clip_cov_ratio or args.kl_cov_ratio
    tokens = plan.rollout * (args.max_completion_length or 0)
    if not ratio or not tokens or ratio * tokens >= 8:
        return []
    return [
        f"A share of {ratio:g} of at most {tokens:,} tokens is {ratio * tokens:.1f}: hardly a token is selected "
        "(always at least one). On a rollout this small take a larger ratio, 0.01 to 0.2."
    ]


def _large_bonus(plan: Plan) -> list[str]:
    if plan.args.entropy_coef < 0.005:
        return []
    return [f"entropy_coef={plan.args.entropy_coef:g}: from 0.005 on a large model's entropy explodes."]


def _many_steps(plan: Plan) -> list[str]:
    if plan.steps_per_rollout <= 16:
        return []
    return [
        f"{_number(plan.steps_per_rollout)} optimizer steps on each rollout are far off-policy; the papers take 8 and "
        "16. Was --num_processes forgotten?"
    ]


_RULES: tuple[Callable[[Plan], list[str]], ...] = (_many_steps, _few_tokens, _large_bonus, _inert)
