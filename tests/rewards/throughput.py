r"""Throughput of the reward on 512 ordinary completions: `python -m tests.rewards.throughput`.

64 problems x 8 completions of about 1,500 characters that end in a box, as a GRPO batch has them; 60 % right, written
in several ways. The reference is what `math_reward` replaces: `trl.rewards.accuracy_reward` (math-verify in the main
thread). Each figure is the best of three batches, each of new problems, after a warm-up batch. Three kinds of
answers: integers (AIME, AMC, GSM8K); a mix like that of MATH (half integers, then fractions, radicals, polynomials,
sets, intervals); no integers at all, the worst for us, since nearly all is parsing.
"""

import random
import time

import psutil

from trl_entropy.rewards import MathReward


PROSE = (
    "Let $x$ be the number of apples. Then $2x + 3 = {a}$, so that $x = \\frac{{{a} - 3}}{{2}}$. We substitute this "
    "into the second equation and find that $y^2 - {a}y + 1 = 0$, whose discriminant is $\\sqrt{{{a}^2 - 4}}$. "
)
HARD = ["fraction", "radical", "set", "interval", "poly"]
KINDS = {"integer": ["integer"], "MATH-like": ["integer"] * 8 + ["fraction"] * 3 + HARD, "no integers": HARD}


def batch(kind: str, seed: int, problems: int = 64, group: int = 8) -> tuple[list[list[dict]], list[str]]:
    """Completions and golds of `problems` problems with `group` completions each."""
    generator = random.Random(seed)
    completions, golds = [], []
    for _ in range(problems):
        a, b = generator.randint(2, 999), generator.randint(2, 99)
        shape = generator.choice(KINDS[kind])
        for _ in range(group):
            right = generator.random() < 0.6
            gold, spelled = spell(shape, a, b, generator)
            if not right:
                _, spelled = spell(shape, a + generator.randint(1, 9), b, generator)
            text = "".join(PROSE.format(a=generator.randint(2, 99)) for _ in range(6))
            completions.append(
                [{"role": "assistant", "content": f"{text}The final answer is $\\boxed{{{spelled}}}$."}]
            )
            golds.append(f"${gold}$")
    return completions, golds


def spell(shape: str, a: int, b: int, generator: random.Random) -> tuple[str, str]:
    spellings = {
        "integer": [f"{a}"],
        "fraction": [f"\\frac{{{a}}}{{{b}}}", f"{a}/{b}", f"\\dfrac{{{2 * a}}}{{{2 * b}}}"],
        "radical": [f"{a}\\sqrt{{{b}}}", f"\\sqrt{{{b}}} \\cdot {a}"],
        "set": [f"\\{{{a}, {b}\\}}", f"{b}, {a}"],
        "interval": [f"[{b}, {a + 100})", f"\\left[{b}, {a + 100}\\right)"],
        "poly": [f"x^2 + {a}x + {b}", f"{b} + {a}x + x^2"],
    }[shape]
    return spellings[0], generator.choice(spellings)


def best_of_three(function, batches, cpu_seconds) -> tuple[float, float, list]:
    """Wall clock of the best batch, its CPU seconds, and all results."""
    best, results = (float("inf"), 0.0), []
    for arguments in batches:
        before, started = cpu_seconds(), time.perf_counter()
        results += function(*arguments)
        best = min(best, (time.perf_counter() - started, cpu_seconds() - before))
    return *best, results


def main() -> None:
    from trl.rewards import accuracy_reward

    reward = MathReward(workers=2)

    def cpu_with_workers() -> float:
        workers = psutil.Process(reward.pool._nursery.process.pid).children()
        return time.process_time() + sum(sum(worker.cpu_times()[:2]) for worker in workers)

    print(f"load average before: {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    for kind in KINDS:
        for group in (8, 1):
            accuracy_reward(*batch(kind, seed=0, problems=8))
            reward(*batch(kind, seed=0))
            reward.pool.compare([("x+1", "1+x")])  # the pool runs, also where no pair needed it
            batches = [batch(kind, seed, problems=512 // group, group=group) for seed in (1, 2, 3)]
            fast, fast_cpu, mine = best_of_three(reward, batches, cpu_with_workers)
            slow, slow_cpu, theirs = best_of_three(accuracy_reward, batches, time.process_time)
            agree = sum(a == b for a, b in zip(theirs, mine, strict=True))
            print(
                f"{kind:11} {512 // group:3} x {group}: main thread {slow:6.3f} s (CPU {slow_cpu:6.3f}), math_reward "
                f"{fast:6.3f} s (CPU {fast_cpu:6.3f}), {slow / fast:5.1f} x; {agree} of {len(mine)} verdicts agree",
                flush=True,
            )
    reward.pool.close()


if __name__ == "__main__":
    main()
