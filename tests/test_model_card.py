"""The model card says what was trained, with which settings, how it went, and how to load it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset
from huggingface_hub import ModelCard
from matplotlib.image import imread
from peft import LoraConfig

from tests.conftest import tiny_model, tiny_tokenizer, vowel_reward
from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.card_evaluation import read_evaluations
from trl_entropy.model_card import ENTROPY_MECHANISM, PICTURE, SIREN, loading_section, name_repository
from trl_entropy.plots.card import plot_card


Train = Callable[..., Path]


@pytest.fixture
def card_of(arguments: Callable[..., dict], dataset: Dataset) -> Train:
    """Train three steps and write the card; the folder of the run."""

    def train(peft_config=None, dataset_name=None, evaluation=None, **overrides) -> Path:
        args = EntropyGRPOConfig(**arguments(**overrides))
        trainer = EntropyGRPOTrainer(
            model=tiny_model(),
            reward_funcs=vowel_reward,
            args=args,
            train_dataset=dataset,
            processing_class=tiny_tokenizer(),
            peft_config=peft_config,
        )
        trainer.train()
        folder = Path(args.output_dir)
        if evaluation is not None:
            (folder / "evaluation").mkdir()
            (folder / "evaluation" / "results.json").write_text(json.dumps(evaluation(folder)))
        trainer.create_model_card(model_name="tiny", dataset_name=dataset_name)
        return folder

    return train


def evaluation(folder: Path) -> dict:
    """As `trl-entropy eval` writes it: another model and this one."""

    def row(model: str, name: str, at_1: float, at_8: float) -> dict:
        figures = {
            "pass@1": {"mean": at_1, "low": at_1 - 0.1, "high": at_1 + 0.1},
            "pass@8": {"mean": at_8, "low": at_8 - 0.1, "high": at_8 + 0.1},
            "tokens": {"mean": 9.0, "low": 8.0, "high": 10.0},
        }
        return {"model": model, "name": name, "benchmark": "countdown", "seeds": [0], "figures": figures}

    return {"format": 1, "figures": [row(str(folder), "me", 0.25, 0.75), row("base/model", "base/model", 0.2, 0.9)]}


def test_both_papers_and_every_setting_that_acts(card_of: Train):
    text = (card_of(siren_coef=0.25, clip_cov_ratio=0.125, clip_cov_low=0.5) / "README.md").read_text()
    assert "Method: **SIREN + Clip-Cov**" in text
    for paper in (SIREN, ENTROPY_MECHANISM):
        assert paper["id"] in text
        assert paper["citation"].splitlines()[0] in text
    for line in ("| `siren_coef` | `0.25` |", "| `clip_cov_ratio` | `0.125` |", "| `clip_cov_low` | `0.5` |"):
        assert line in text
    assert "kl_cov_coef" not in text
    for word in ("TRL: ", "trl_entropy: ", "Transformers: ", "Pytorch: "):
        assert word in text.partition("### Framework versions")[2]


def test_a_model_and_data_that_are_not_on_the_hub_make_no_broken_link(card_of: Train):
    folder = card_of(siren_coef=0.1, dataset_name="countdown")
    card = ModelCard.load(folder / "README.md")
    assert "None" not in card.text.partition("## Training procedure")[0]
    assert "`countdown`" in card.text
    assert "huggingface.co/datasets/countdown" not in card.text
    assert card.data.datasets is None
    assert card.data.base_model is None


def test_a_dataset_of_the_hub_is_linked(card_of: Train):
    card = ModelCard.load(card_of(siren_coef=0.1, dataset_name="openai/gsm8k") / "README.md")
    assert "(https://huggingface.co/datasets/openai/gsm8k)" in card.text
    assert card.data.datasets == "openai/gsm8k"


def test_the_evaluation_becomes_the_model_index_and_the_picture(card_of: Train):
    folder = card_of(siren_coef=0.1, evaluation=evaluation)
    card = ModelCard.load(folder / "README.md")
    results = [(result.metric_name, result.metric_value) for result in card.data.eval_results]
    assert sorted(results) == [("pass@1", 0.25), ("pass@8", 0.75)]  # of this model, not of the other
    assert {result.metric_type for result in card.data.eval_results} == {"pass_at_k"}
    assert "| countdown | base/model | pass@8 | 0.900 | 0.800 to 1.000 |" in card.text
    assert "| countdown | trained | pass@1 | 0.250 | 0.150 to 0.350 |" in card.text
    assert f"]({PICTURE})" in card.text
    assert imread(folder / PICTURE).shape[1] > 1.5 * imread(folder / PICTURE).shape[0]  # two panels side by side


def test_an_adapter_says_what_it_sits_on(card_of: Train):
    adapter = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    card = ModelCard.load(card_of(peft_config=adapter, siren_coef=0.1) / "README.md")
    assert card.data.library_name == "peft"
    assert "PeftModel.from_pretrained(base, model_id)" in card.text
    assert "- PEFT: " in card.text


def test_plain_grpo_has_a_card_too(card_of: Train):
    text = (card_of() / "README.md").read_text()
    assert "Method: **none (plain GRPO)**" in text
    assert SIREN["id"] not in text


@pytest.mark.parametrize("vision", [False, True])
@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("chat", [False, True])
def test_the_code_to_load_is_code(vision: bool, adapter: bool, chat: bool):
    section = loading_section("me/model", "base/model", adapter, vision, chat)
    code = section.partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")
    assert ('"base/model"' in code) == adapter
    assert ("AutoProcessor" in code) == vision
    assert ("apply_chat_template" in code) == chat


def test_the_card_is_renamed_for_the_repository_it_is_pushed_to(tmp_path: Path):
    (tmp_path / "README.md").write_text('a\nmodel_id = "old"\nmodel_id_of_another = "old"\n')
    name_repository(tmp_path, "me/new\\1")
    assert (tmp_path / "README.md").read_text() == 'a\nmodel_id = "me/new\\1"\nmodel_id_of_another = "old"\n'
    name_repository(tmp_path / "nothing", "me/new")


def test_nothing_to_draw_draws_nothing(tmp_path: Path):
    assert (
        plot_card([{"step": 1, "loss": 0.0}, {"entropy": float("nan"), "step": 2}], "siren", tmp_path / "x.png")
        is False
    )
    assert not (tmp_path / "x.png").exists()
    assert read_evaluations(tmp_path) == []
