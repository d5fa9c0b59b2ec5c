"""Keep a few completions with the figures of every token, for the report's token map."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ..durable import append_lines
from ..functional.covariance import token_covariance
from ..methods import Micro
from ..reliability.beside_training import beside_training
from ..reliability.log_files import TOKEN_MAP_FILE
from ..step.observer import Observer
from .run_log import method_of


class TokenMapRecorder(Observer):
    """Append completions with per-token figures to `token_map.jsonl` in the run's folder.

    One line a completion. Lists have one entry a token; a method's marks, such as SIREN's `kept`, hold the indices of
    the tokens that it acted on. Entropies and log-probabilities are in nats; `covariance` is what Clip-Cov or KL-Cov
    selected by and, without them, centred over the micro-batch that the loss saw.

    Nothing is read from the device, and no random number drawn, except on the steps that are kept.

    Args:
        output_dir: The run's folder.
        completions: How many completions to keep a snapshot (`log_token_map`).
        every: Optimizer steps between snapshots (`log_token_map_steps`); the first step is always kept.
        decode: Token ids to text, such as `tokenizer.decode`.
        method: Name of the run's method, for the report's filter.
        max_tokens: Tokens of a completion beyond this many are counted and left out.

    Raises:
        ValueError: If `completions`, `every` or `max_tokens` is below 1.
    """

    def __init__(
        self,
        output_dir: str | Path,
        completions: int,
        every: int,
        decode: Callable[[list[int]], str],
        method: str = "plain",
        max_tokens: int = 1024,
    ):
        for name, value in (
            ("log_token_map", completions),
            ("log_token_map_steps", every),
            ("max_tokens", max_tokens),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value}: give a whole number of at least 1.")
        self.path = Path(output_dir) / TOKEN_MAP_FILE
        self.completions, self.every, self.max_tokens = completions, every, max_tokens
        self.decode, self.method = decode, method
        self._step, self._taken = -1, 0

    def due(self, step: int) -> bool:
        """Whether the optimizer step that is about to end as number `step` (from 1) still wants completions."""
        return (step == 1 or step % self.every == 0) and (step != self._step or self._taken < self.completions)

    def after_loss(self, step: int, micro: Micro, marks: dict[str, torch.Tensor]) -> None:
        """A micro-batch of training, as [`Observer`] says."""
        self.observe(
            step,
            micro.inputs["prompt_ids"],
            micro.inputs["prompt_mask"],
            micro.inputs["completion_ids"],
            micro.mask,
            micro.logps,
            micro.entropy,
            micro.advantages,
            marks,
        )

    @torch.no_grad()
    def observe(
        self,
        step: int,
        prompt_ids: torch.Tensor,
        prompt_mask: torch.Tensor,
        completion_ids: torch.Tensor,
        mask: torch.Tensor,
        logps: torch.Tensor,
        entropy: torch.Tensor,
        advantages: torch.Tensor,
        marks: Mapping[str, torch.Tensor] = MappingProxyType({}),
    ) -> int:
        """Keep the first completions of a micro-batch, as many as the snapshot still lacks.

        Args:
            step: Number of the optimizer step, from 1, as it will be logged.
            prompt_ids, prompt_mask: (B, P).
            completion_ids, mask: (B, T).
            logps, entropy: (B, T).
            advantages: (B,), (B, 1) or (B, T), as they were before any selection.
            marks: what the methods say of the tokens, (B, T) each: bool for tokens that one acted on, numbers for what
                it measured. Without a `covariance` it is that of this micro-batch.

        Returns:
            How many completions were written.
        """
        if not self.due(step):
            return 0
        if step != self._step:
            self._step, self._taken = step, 0
        count = min(self.completions - self._taken, completion_ids.size(0))
        wide = advantages.unsqueeze(-1) if advantages.dim() == 1 else advantages
        floats = {
            "logp": logps,
            "entropy": entropy,
            "advantage": wide.expand_as(logps),
            "covariance": token_covariance(logps, advantages, mask),
            **{name: mark for name, mark in marks.items() if mark.dtype != torch.bool},
        }
        marks = {name: mark for name, mark in marks.items() if mark.dtype == torch.bool}
        with beside_training(TOKEN_MAP_FILE):
            lines = [
                json.dumps(
                    self._row(step, i, prompt_ids, prompt_mask, completion_ids, mask.bool(), floats, marks),
                    ensure_ascii=False,
                    allow_nan=False,
                    separators=(",", ":"),
                )
                for i in range(count)
            ]
            append_lines(self.path, lines)
            self._taken += count
            return count
        return 0

    def _row(self, step, i, prompt_ids, prompt_mask, completion_ids, mask, floats, marks) -> dict[str, Any]:
        counted = mask[i].nonzero().squeeze(-1)
        shown = counted[: self.max_tokens]
        ids = completion_ids[i][shown].tolist()
        row: dict[str, Any] = {
            "step": step,
            "method": self.method,
            "prompt": self.decode(prompt_ids[i][prompt_mask[i].bool()].tolist()),
            "tokens": token_texts(ids, self.decode),
            "left_out": len(counted) - len(shown),
        }
        for name, values in floats.items():
            row[name] = [_number(v) for v in values[i][shown].float().tolist()]
        if len(set(row["advantage"])) == 1:  # one advantage a completion: the usual case
            row["advantage"] = row["advantage"][0]
        for name, chosen in marks.items():
            row[name] = chosen[i][shown].nonzero().squeeze(-1).tolist()
        return row


def token_map_of(trainer: Any) -> TokenMapRecorder | None:
    """The recorder that an [`EntropyGRPOTrainer`]'s arguments ask for; None when off, or not on the main process."""
    args = trainer.args
    if not args.log_token_map or not trainer.is_world_process_zero():
        return None
    tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    return TokenMapRecorder(
        args.output_dir, args.log_token_map, args.log_token_map_steps, tokenizer.decode, method_of(args)
    )


def token_texts(ids: list[int], decode: Callable[[list[int]], str]) -> list[str]:
    """The text of each token. A character split over several tokens is shown on the first, the others are empty.

    >>> token_texts([1, 2], lambda ids: "ab"[: len(ids)])
    ['a', 'a']
    """
    texts: list[str] = []
    i = 0
    while i < len(ids):
        width, text = 1, decode(ids[i : i + 1])
        while text.endswith("\N{REPLACEMENT CHARACTER}") and width < 4 and i + width < len(ids):
            longer = decode(ids[i : i + width + 1])
            width, text = width + 1, longer
        if text.endswith("\N{REPLACEMENT CHARACTER}"):  # not a split character after all
            width, text = 1, decode(ids[i : i + 1])
        texts += [text] + [""] * (width - 1)
        i += width
    return texts


def _number(value: float) -> float | int | None:
    if value != value or value in (float("inf"), float("-inf")):
        return None
    rounded = round(value, 4)
    return int(rounded) if rounded == int(rounded) else rounded
