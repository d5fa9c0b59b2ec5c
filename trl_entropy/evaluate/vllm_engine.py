"""Generation with vLLM: one request a row, each with its own seed."""

import importlib.util
from collections.abc import Sequence
from typing import Any

from .asking import Asking
from .sampling import Completion, Prompt, Sampling
from .transformers_engine import adapter_config, load_tokenizer


def vllm_is_usable() -> bool:
    """Whether vLLM is installed and a CUDA device is there."""
    if importlib.util.find_spec("vllm") is None:
        return False
    import torch

    return torch.cuda.is_available()


class VLLMEngine(Asking):
    """Generates with vLLM.

    The entropy is None, except at temperature 1 and top_p 1: there it is estimated by minus the mean log-probability
    of the sampled tokens, because vLLM does not return whole distributions. Pooled over all tokens the estimate is
    consistent; a ratio of two sums, it is not exactly unbiased.

    Takes a hub id, a local path or a LoRA adapter; `chat` and `system_prompt` as `TransformersEngine` does.
    """

    name = "vllm"

    def __init__(
        self,
        model: str,
        chat: str = "auto",
        system_prompt: str | None = None,
        dtype: str = "auto",
        revision: str | None = None,
        tensor_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.9,
    ):
        from vllm import LLM  # type: ignore[import-not-found]

        adapter, options = adapter_config(model, revision), {}
        super().__init__(load_tokenizer(model, revision, adapter), chat, system_prompt)
        base = adapter.base_model_name_or_path if adapter is not None else None
        self._adapter: Any = None
        if base:
            from vllm.lora.request import LoRARequest  # type: ignore[import-not-found]

            options = {"enable_lora": True, "max_lora_rank": lora_rank(adapter)}
            self._adapter = LoRARequest("adapter", 1, model)
        self.llm = LLM(
            model=base or model,
            dtype=dtype,
            revision=adapter.revision if base else revision,
            tokenizer_revision=adapter.revision if base else revision,
            tensor_parallel_size=tensor_parallel_size,
            gpu_memory_utilization=gpu_memory_utilization,
            **options,
        )

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """One completion a prompt, each request with its own seed."""
        from vllm import SamplingParams  # type: ignore[import-not-found]

        unmodified = sampling.temperature == 1.0 and sampling.top_p == 1.0
        parameters = [
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                seed=seed,
                logprobs=0 if unmodified else None,
            )
            for seed in seeds
        ]
        requests = [{"prompt_token_ids": ids} for ids in self.encode(prompts)]
        outputs = self.llm.generate(requests, parameters, lora_request=self._adapter, use_tqdm=False)
        return [_completion(output.outputs[0]) for output in outputs]


def lora_rank(adapter: Any) -> int:
    """The `max_lora_rank` for an adapter: its largest rank, up to the next power of two from 8 on."""
    rank = max([adapter.r, *(getattr(adapter, "rank_pattern", None) or {}).values()])
    return max(8, 1 << (rank - 1).bit_length())


def _completion(output: Any) -> Completion:
    entropy = None
    if output.logprobs:
        logps = [step[token].logprob for step, token in zip(output.logprobs, output.token_ids, strict=True)]
        entropy = -sum(logps) / len(logps)
    return Completion(output.text, len(output.token_ids), output.finish_reason == "length", entropy)
