import os
import threading
import time

import psutil
import pytest

from tests.rewards.hostile import HOSTILE
from trl_entropy.rewards import MathReward, extract_answer, format_reward


TIMEOUT, MEMORY_MB = 0.3, 512


def test_forty_hostile_completions_cost_at_most_their_limit():
    reward = MathReward(timeout=TIMEOUT, memory_mb=MEMORY_MB, workers=2)
    reward(completions=[r"\boxed{0.5}"], solution=["1/2"])
    peak, done = 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            for child in psutil.Process().children(recursive=True):
                try:
                    peak = max(peak, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    metrics, columns = {}, {}
    started = time.monotonic()
    rewards = reward(
        completions=list(HOSTILE.values()),
        solution=["7"] * len(HOSTILE),
        log_metric=metrics.__setitem__,
        log_extra=columns.__setitem__,
    )
    wall = time.monotonic() - started
    done.set()
    watcher.join()

    verdicts = dict(zip(HOSTILE, columns["verdict"], strict=True))
    assert rewards == [0.0] * len(HOSTILE), verdicts
    assert verdicts["tower of powers"] == "timeout"
    assert metrics["math/timeout"] == columns["verdict"].count("timeout") / 40 > 0
    assert wall < 40 * TIMEOUT  # two workers: half of that, plus what the machine's other load takes
    assert peak < (MEMORY_MB + 64) << 20
    assert not os.path.exists("/tmp/trl_entropy_was_here")
    assert reward(completions=[r"\boxed{\frac{3}{6}}", "no"], solution=["0.5", "1"]) == [1.0, 0.0]  # the pool is alive
    reward.pool.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_extraction_is_linear(name):
    started = time.thread_time()  # of this thread alone, whatever else the machine does
    extract_answer(HOSTILE[name])
    format_reward(completions=[HOSTILE[name]])
    assert time.thread_time() - started < 0.5


@pytest.mark.slow
def test_no_single_comparison_exceeds_its_limit():
    """Each of the forty by itself, and the process that asks stays as small as it was."""
    reward = MathReward(timeout=TIMEOUT, memory_mb=MEMORY_MB, workers=1)
    reward.pool.compare([("x+1", "x+1")])
    before = psutil.Process().memory_info().rss
    answers = {name: extract_answer(text) for name, text in HOSTILE.items()}
    asked = {name: answer for name, answer in answers.items() if answer is not None}
    assert len(asked) > 20  # the others have no answer to compare, which costs nothing
    for name, verdict in zip(asked, reward.pool.compare([("x+1", a) for a in asked.values()]), strict=True):
        assert verdict.seconds < TIMEOUT + 0.2, (name, verdict)
    assert psutil.Process().memory_info().rss - before < 64 << 20
    reward.pool.close()
