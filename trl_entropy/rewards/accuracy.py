"""The mathematical accuracy reward, in TRL's calling convention."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from .extract import extract_answer
from .golds import gold_answer, unreadable
from .numbers import number, quick_verdict
from .pool import GradingPool
from .reconcile import reconcile


logger = logging.getLogger(__name__)
FAILURES = ("timeout", "unparsed", "unparsed_gold", "crash", "memory", "no_answer")
_NAMED_GOLDS = 20
Completion = str | Mapping | Sequence[str | Mapping]


class MathReward:
    r"""1.0 if the final answer of a completion equals the gold answer, 0.0 if not, None if the gold has no answer.

    The answer is found by `extract_answer` in this process, in linear time, and compared by math-verify in worker
    processes (`GradingPool`) under hard limits of time and memory. A completion that exceeds them scores 0.0, and
    training goes on. Equal `(gold, answer)` pairs of a batch are compared once, so a policy that repeats one hostile
    answer a thousand times pays for it once; identical texts and plain numbers are compared without a worker.

    Args:
        timeout: seconds of wall clock one comparison may take.
        memory_mb: address space of a worker in MiB.
        workers: worker processes of this rank; by default its share of the cores, at most 8.
        require_box: only `\boxed{...}` counts as an answer. By default "the answer is ..." does too.

    Calling convention: `reward(completions=..., solution=[...], log_extra=..., log_metric=...)`. The gold may be an
    answer (`\frac{1}{2}`), a text with an answer in `$...$`, `\boxed{}` or `<answer>`, or a GSM8K solution ending in
    `#### 42`; the column may be called `solution` or `answer`. Where both are there, `solution` is the gold if it
    marks its answer so, with `$...$` around it all, else `answer` is, unless it is empty. Logged: columns
    `extracted_answer` and `verdict`; shares of the batch `math/no_answer`, `math/unparsed`, `math/unparsed_gold`,
    `math/timeout`, `math/crash`, `math/memory`.

    Example:
        >>> MathReward()(completions=[r"\boxed{0.5}", "I give up"], solution=[r"\frac12", r"\frac12"])
        [1.0, 0.0]
    """

    def __init__(
        self, timeout: float = 3.0, memory_mb: int = 1024, workers: int | None = None, require_box: bool = False
    ):
        self.__name__ = "math_reward"  # TRL names a reward's metrics by this
        self.pool = GradingPool(timeout, memory_mb, workers)
        self.require_box = require_box
        self._unreadable: set[str] = set()

    def __call__(
        self,
        completions: Sequence[Completion],
        solution: Sequence[str] | None = None,
        answer: Sequence[str] | None = None,
        log_extra: Callable[[str, list], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **kwargs,
    ) -> list[float | None]:
        golds = _golds(solution, answer)
        if golds is None:
            raise ValueError(
                "math_reward needs the gold answers: the dataset must have a column named 'solution' or 'answer', "
                f"but only {sorted(kwargs) or 'none'} reached the reward."
            )
        if len(golds) != len(completions):
            raise ValueError(f"math_reward: {len(completions)} completions but {len(golds)} gold answers.")
        answers = [extract_answer(completion_text(c), self.require_box) for c in completions]
        verdicts = self.verdicts([gold_answer(gold) for gold in golds], answers)
        self._report(golds, verdicts)
        if log_extra is not None:
            log_extra("extracted_answer", [a if a is not None else "" for a in answers])
            log_extra("verdict", verdicts)
        if log_metric is not None:
            counts = Counter(verdicts)
            for failure in FAILURES:  # always all of them: every rank must log the same names
                log_metric(f"math/{failure}", counts[failure] / max(len(verdicts), 1))
        return [None if v == "unparsed_gold" else float(v == "equal") for v in verdicts]

    def verdicts(self, golds: Sequence[str], answers: Sequence[str | None]) -> list[str]:
        """One of equal, different, no_answer, unparsed, unparsed_gold, timeout, memory, crash for each pair."""
        result = [_at_once(gold, answer) for gold, answer in zip(golds, answers, strict=True)]
        open_pairs = [i for i, verdict in enumerate(result) if verdict is None]
        compared = self.pool.compare([(golds[i], answers[i] or "") for i in open_pairs]) if open_pairs else []
        for i, verdict in zip(open_pairs, compared, strict=True):
            unanswered = answers[i] is None and verdict.status != "unparsed_gold"
            result[i] = "no_answer" if unanswered else verdict.status
        return [verdict or "crash" for verdict in result]

    def _report(self, golds: Sequence, verdicts: Sequence[str]) -> None:
        """Say which golds cannot be read, each once."""
        for gold, verdict in zip(golds, verdicts, strict=True):
            key = str(gold)
            if verdict == "unparsed_gold" and key not in self._unreadable:
                self._unreadable.add(key)
                if len(self._unreadable) <= _NAMED_GOLDS:
                    logger.warning(
                        f"math_reward: the gold answer {key!r:.120} cannot be read; its completions get no reward. "
                        f"That makes {len(self._unreadable)} such golds; math/unparsed_gold is their share."
                    )


def _at_once(gold: str, answer: str | None) -> str | None:
    """The verdict that needs no worker, None if one is needed."""
    if answer is None:
        return "unparsed_gold" if unreadable(gold) else "no_answer" if number(gold) else None
    pair = reconcile(gold, answer)
    if pair is None:
        return "different"
    verdict = quick_verdict(*pair)
    return "unparsed_gold" if verdict is None and unreadable(pair[0]) else verdict


def _golds(solution: Sequence[str] | None, answer: Sequence[str] | None) -> Sequence[str] | None:
    """The gold texts: the one column there is, or row by row the one that marks its answer."""
    if solution is None or answer is None or len(solution) != len(answer):
        return solution if solution is not None else answer
    return [
        text if _is_marked(text) or short is None or not str(short).strip() else short
        for text, short in zip(solution, answer, strict=True)
    ]


def _is_marked(gold: str | None) -> bool:
    text = "" if gold is None else str(gold)
    return "####" in text or gold_answer(text) != text.strip()


def completion_text(completion: Completion | None) -> str:
    """Text of a completion: the string itself, or the content of the model's last message, text blocks joined.

    What a tool or a user said is not the model's. A message may also stand alone, or be a string. What has no text
    (None, a picture) is the empty text.

    Example:
        >>> completion_text([{"role": "assistant", "content": [{"type": "text", "text": "4"}]}])
        '4'
    """
    if isinstance(completion, (list, tuple)):
        own = [m for m in completion if not isinstance(m, Mapping) or m.get("role", "assistant") == "assistant"]
        completion = own[-1] if own else None
    content = completion.get("content") if isinstance(completion, Mapping) else completion
    if isinstance(content, (list, tuple)):
        return "".join(map(_block_text, content))
    return _block_text(content)


def _block_text(block: object) -> str:
    text = block.get("text") if isinstance(block, Mapping) else block
    return text if isinstance(text, str) else ""


math_reward = MathReward()
"""The reward with its default limits, for `reward_funcs`; its workers start with the first pair that needs one."""
