"""From prompts to token ids, through a chat template where there is one."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from .preflight import check_template
from .sampling import Prompt


class Asking:
    """What an engine asks with: a tokenizer, whose chat template is applied unless `chat` is `"never"`.

    Raises:
        ValueError: for `chat="always"`, or a system prompt, with a tokenizer that has no chat template, and for a
            template that refuses them.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat: str = "auto", system_prompt: str | None = None):
        has = bool(getattr(tokenizer, "chat_template", None))
        if not has and (chat == "always" or system_prompt is not None):
            raise ValueError("A chat template or system prompt is asked for, but the tokenizer has no chat template.")
        self.tokenizer, self.system_prompt = tokenizer, system_prompt
        self.templated = has and chat != "never"
        if self.templated:
            check_template(tokenizer, self._as_chat("1 + 1"))

    def lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        """Length in tokens of each prompt, chat template included."""
        return [len(ids) for ids in self.encode(prompts)]

    def encode(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of each prompt: a chat, or a text that becomes one, through the chat template; else the text."""
        chats = [self.templated or not isinstance(prompt, str) for prompt in prompts]
        texts = [self._render(prompt) if chat else prompt for prompt, chat in zip(prompts, chats, strict=True)]
        # A chat template writes its own special tokens
        return self.tokenizer(texts, add_special_tokens=not all(chats))["input_ids"]  # type: ignore[return-value,arg-type]

    def _render(self, prompt: Prompt) -> str:
        messages = self._as_chat(prompt)
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _as_chat(self, prompt: Prompt) -> list[dict[str, Any]]:
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        system = [] if self.system_prompt is None else [{"role": "system", "content": self.system_prompt}]
        return [*system, *asked]
