"""Whether the model's tokenizer is there and its chat template takes the prompts, before the weights load."""

from typing import Any, cast

from transformers import AutoProcessor, PreTrainedTokenizerBase

from ..evaluate.preflight import check_template, loading
from ..evaluate.transformers_engine import adapter_base
from .arguments import Arguments


def check_tokenizer(given: Arguments, prompt: str | list | None, columns: list[str]) -> None:
    """Load the tokenizer and render one prompt.

    Args:
        given: the arguments.
        prompt: one of the training data, a text or a chat; None renders a system prompt alone, where there is one.
        columns: names of the data's columns.

    Raises:
        ValueError: for a model that cannot be found, a chat without a template or with one that refuses it, and
            pictures for a model that reads text.
    """
    name = str(given.model.model_name_or_path)
    with loading(name):
        processor: Any = AutoProcessor.from_pretrained(
            adapter_base(name, given.model.model_revision) or name,
            revision=given.model.model_revision,
            # TRL 1.15 has it among the model's arguments
            trust_remote_code=any(getattr(group, "trust_remote_code", False) for group in (given.args, given.model)),
        )
    pictures = [column for column in ("images", "image") if column in columns]
    if pictures and (isinstance(prompt, str) or not hasattr(processor, "image_processor")):
        raise ValueError(
            f"The data has a column {pictures[0]!r}, which TRL takes for pictures, but "
            + ("its prompts are texts, not chats" if isinstance(prompt, str) else f"{name} reads text only")
            + ". Rename the column, or leave it out."
        )
    system = given.columns.system_prompt
    if prompt is None and system:
        prompt = [{"role": "system", "content": system}, {"role": "user", "content": "1 + 1"}]
    if isinstance(prompt, list) and isinstance(processor, PreTrainedTokenizerBase):  # TRL rewrites pictures' chats
        check_template(processor, prompt, cast(dict, given.args.chat_template_kwargs))
