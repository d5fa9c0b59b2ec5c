"""`EntropyGRPOTrainer`: entropy control on TRL's trainer, with what looks on: run log, token map, dynamics, card."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from peft import PeftConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin, TrainerCallback
from trl import GRPOTrainer

from .callbacks import attach_observers
from .config import EntropyGRPOConfig
from .hub import card
from .hub.upload import cleaned_uploads
from .methods import Method
from .reliability.checkpoints import seal
from .trainer import EntropyControl


logger = logging.getLogger(__name__)

Reward = str | PreTrainedModel | Callable[..., Any]


class EntropyGRPOTrainer(EntropyControl, GRPOTrainer):
    r"""
    [`~trl.GRPOTrainer`] with entropy control: SIREN, Clip-Cov, KL-Cov and the other methods of
    `trl_entropy.methods`.

    With every method off it is `GRPOTrainer`, number for number. It takes what `GRPOTrainer` takes, `kwargs`
    included, and:

    Args:
        args: an [`EntropyGRPOConfig`].
        methods: instances of your own [`Method`][trl_entropy.methods.base.Method], beside those that `args` turns on.

    Raises:
        TypeError: when `args` is a plain `GRPOConfig`, which lacks the arguments.

    Example:

    ```python
    from datasets import load_dataset
    from trl.rewards import accuracy_reward
    from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer

    trainer = EntropyGRPOTrainer(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        reward_funcs=accuracy_reward,
        args=EntropyGRPOConfig(siren_coef=0.005),
        train_dataset=load_dataset("trl-lib/DeepMath-103K", split="train"),
    )
    trainer.train()
    ```
    """

    _tag_names = ["trl", "grpo", "entropy-control"]
    _name = "GRPO with entropy control"

    def __init__(
        self,
        model: "str | PreTrainedModel",
        reward_funcs: "Reward | list[Reward] | None" = None,
        args: EntropyGRPOConfig | None = None,
        train_dataset: Dataset | IterableDataset | None = None,
        eval_dataset: "Dataset | IterableDataset | dict[str, Dataset | IterableDataset] | None" = None,
        processing_class: "PreTrainedTokenizerBase | ProcessorMixin | None" = None,
        reward_processing_classes: "PreTrainedTokenizerBase | list[PreTrainedTokenizerBase] | None" = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: "tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LambdaLR | None]" = (None, None),
        quantization_config: Any = None,
        peft_config: PeftConfig | None = None,
        methods: Iterable[Method] = (),
        **kwargs: Any,
    ):
        super().__init__(
            model,
            reward_funcs,
            args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            reward_processing_classes=reward_processing_classes,
            callbacks=callbacks,
            optimizers=optimizers,
            peft_config=peft_config,
            methods=methods,
            **({} if quantization_config is None else {"quantization_config": quantization_config}),
            **kwargs,
        )
        self._paper = card.paper(self.args)
        self._tag_names = [*type(self)._tag_names, *(method.name.lower() for method in self.methods)]
        attach_observers(self)

    def _push_from_checkpoint(self, checkpoint_folder):
        with cleaned_uploads(seal):
            super()._push_from_checkpoint(checkpoint_folder)

    def push_to_hub(self, *args, **kwargs):
        with cleaned_uploads(seal):
            return super().push_to_hub(*args, **kwargs)

    def create_model_card(self, model_name=None, dataset_name=None, tags=None):
        super().create_model_card(model_name, dataset_name, tags)
        if self.is_world_process_zero():
            try:
                card.add_entropy_section(self)
            except Exception as error:  # such as an evaluation that is just being written: no card is worth a run
                logger.warning(
                    f"The model card lacks its section on entropy ({type(error).__name__}: {error}). `trl-entropy "
                    f"push {self.args.output_dir}` writes it again."
                )
