"""Memory and wall time of the recipes in docs/recipes/, on paper: nothing here is measured.

    python scripts/recipe_costs.py            # one row a recipe, from its YAML
    python scripts/recipe_costs.py --write    # into docs/recipes/

Batches, lengths and steps are read from the YAML; the shapes are those of the models' published configurations.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import yaml


ROOT = Path(__file__).parents[1]
GIB = 2.0**30
BUSY = 0.35  # share of the card's peak that training and scoring reach
STREAMED = 0.6  # share of its memory bandwidth that generation reaches
LAUNCH = 0.025  # seconds a token that transformers' generate takes at least, whatever the card
ENGINE = 256  # completions that vLLM generates at a time
WRITTEN = 0.5  # mean length of a completion over its limit


@dataclass(frozen=True)
class Model:
    parameters: float
    layers: int
    width: int
    inner: int  # of the feed-forward part
    keys: int  # width of a layer's keys, and of its values
    vocabulary: int


@dataclass(frozen=True)
class Card:
    name: str
    flops: float  # a second, dense, in the half precision that it has
    bandwidth: float  # bytes a second


MODELS = {
    "Qwen/Qwen2.5-0.5B-Instruct": Model(0.494e9, 24, 896, 4864, 128, 151_936),
    "Qwen/Qwen3-0.6B": Model(0.596e9, 28, 1024, 3072, 1024, 151_936),
    "Qwen/Qwen2.5-VL-3B-Instruct": Model(3.75e9, 36, 2048, 11_008, 256, 151_936),
    "Qwen/Qwen2.5-7B": Model(7.62e9, 28, 3584, 18_944, 512, 152_064),
    "Qwen/Qwen2.5-Math-7B": Model(7.62e9, 28, 3584, 18_944, 512, 152_064),
}
T4, A10, A100 = Card("T4, 16 GB", 65e12, 320e9), Card("A10, 24 GB", 125e12, 600e9), Card("A100, 80 GB", 312e12, 2039e9)
RECIPES = {  # page: configuration, card, tokens of a prompt
    "on_policy_lora": ("siren_lora_on_policy", T4, 150),
    "off_policy_7b": ("kl_cov", A100, 200),
    "tools": ("example_tools", A10, 400),
    "vision": ("example_vision", A100, 1000),
    "long_runs": ("siren_long_run", A100, 200),
    "resuming": ("siren_lora_on_policy", T4, 150),
}


@dataclass(frozen=True)
class Cost:
    processes: int
    states: float
    activations: float
    head: float
    generation: float
    engine: bool
    seconds: dict[str, float]  # of a rollout, each kind of work
    rollouts: float

    @property
    def gib(self) -> float:
        """vLLM keeps its share while the model trains; transformers' cache is gone by then."""
        trains = self.activations + self.head
        return self.states + (trains + self.generation if self.engine else max(trains, self.generation))

    @property
    def hours(self) -> float:
        return self.rollouts * sum(self.seconds.values()) / 3600


def cost(name: str, card: Card, prompt: int) -> Cost:
    """What the configuration costs a card, and for how long."""
    given = yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text())
    model = MODELS[given["model_name_or_path"]]
    processes = given.get("num_processes", 1)
    micro, accumulated = given["per_device_train_batch_size"], given["gradient_accumulation_steps"]
    step = micro * accumulated * processes
    rollout = given.get("generation_batch_size") or micro * processes * given.get("steps_per_generation", accumulated)
    longest, lora, engine = given["max_completion_length"], given.get("use_peft", False), given.get("use_vllm", False)
    wide = 2 if given["dtype"] == "bfloat16" else 4  # bytes of a weight where it is read

    adapters = 3 * 7 * given.get("lora_r", 0) * model.layers * model.width
    states = wide * model.parameters + 16 * adapters if lora else 16 * model.parameters
    tokens = micro * (prompt + longest)
    inside = (
        tokens * (8 * model.width + 3 * model.inner) * 4
    )  # of the one layer that is being recomputed: values and gradients
    gathered = 2 * model.vocabulary * model.width if processes > 1 else 0
    cached = 2 * model.layers * model.keys * 2  # bytes a token: keys and values in half precision
    own = 0 if engine else cached * rollout / processes * (prompt + longest)
    share = given.get("vllm_gpu_memory_utilization", 0) * 80e9 if engine else own

    written = rollout * (prompt + WRITTEN * longest)
    each = 2 * model.parameters * written / (processes * BUSY * card.flops)  # one forward
    at_once = min(ENGINE, rollout // processes) if engine else rollout // processes
    length = WRITTEN * longest if engine else longest  # transformers generates until the last one ends
    read = wide * model.parameters + cached * at_once * (prompt + length / 2)
    token = read / (STREAMED * card.bandwidth)
    waves = rollout / processes / at_once
    seconds = {
        "generating": waves * length * (token if engine else max(token, LAUNCH)),
        "scoring": each if rollout > step else 0.0,
        "training": each * (3 if lora else 4),  # forward, forward again, backward: LoRA has half a backward
    }
    return Cost(
        processes=processes,
        states=states / (processes if given.get("accelerate_config") in ("zero3", "fsdp2") else 1) / GIB,
        activations=(tokens * model.width * model.layers * wide + inside) / GIB,
        head=(GIB + gathered) / GIB,
        generation=share / GIB,
        engine=engine,
        seconds=seconds,
        rollouts=given["max_steps"] * step / rollout,
    )


def row(page: str) -> str:
    """What a page says of its costs, as a table."""
    name, card, prompt = RECIPES[page]
    found = cost(name, card, prompt)
    parts = ", ".join(f"{kind} {value:.0f}" for kind, value in found.seconds.items() if value)
    cards = f"{found.processes} x {card.name}" if found.processes > 1 else card.name
    hours = f"{found.hours:.1f} hours" if found.hours < 48 else f"{found.hours / 24:.0f} days"
    return "\n".join(
        [
            "| computed, not measured | |",
            "| --- | --- |",
            f"| GPU | {cards} |",
            f"| memory of each, GiB | {found.gib:.1f}: model states {found.states:.1f}, activations "
            f"{found.activations:.1f}, head {found.head:.1f}, generation {found.generation:.1f} |",
            f"| seconds a rollout | {sum(found.seconds.values()):.0f}: {parts} |",
            f"| the whole run | {found.rollouts:,.0f} rollouts, {hours} |",
        ]
    )


def with_costs(page: str, text: str) -> str:
    """The page with its table between the markers."""
    table = f"<!-- costs -->\n\n{row(page)}\n\n<!-- end of costs -->"
    return re.sub(r"<!-- costs -->.*?<!-- end of costs -->", lambda _: table, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into the pages of docs/recipes/")
    write = parser.parse_args().write
    for page in RECIPES:
        if write:
            path = ROOT / f"docs/recipes/{page}.md"
            path.write_text(with_costs(page, path.read_text()))
        else:
            print(f"{page}\n{row(page)}\n")


if __name__ == "__main__":
    main()
