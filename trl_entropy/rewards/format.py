"""Format rewards: cheap, linear-time checks of a completion's shape."""

from collections.abc import Sequence

from .accuracy import Completion, completion_text
from .extract import extract_answer


def format_reward(completions: Sequence[Completion], **kwargs) -> list[float]:
    r"""1.0 if the completion ends its reasoning and gives a final answer in a closed `\boxed{...}`, else 0.0.

    Precisely: at least one box, the last box closed and not empty, and, where the completion thinks inside
    `<think>...</think>`, one such block, closed, at the beginning, with the box after it. Under an accuracy
    reward this pays for answers that can be graded, not for being right.

    Example:
        >>> format_reward(completions=[r"<think>two</think> \boxed{2}", r"\boxed{2", "2"])
        [1.0, 0.0, 0.0]
    """
    return [float(_well_formed(completion_text(completion))) for completion in completions]


def _well_formed(text: str) -> bool:
    if "<think>" in text or "</think>" in text:
        if text.count("<think>") > 1 or text.count("</think>") != 1:
            return False  # no opening tag is fine: chat templates put it into the prompt
        head, text = text.split("</think>")
        if "<think>" in text or ("<think>" in head and not head.lstrip().startswith("<think>")):
            return False
    last = text.rfind("\\boxed")
    return last >= 0 and extract_answer(text[last:], require_box=True) is not None
