"""The model card says what was trained, with which settings, how it went, and how to load it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset
from huggingface_hub import EvalResult, ModelCard
from matplotlib.image import imread
from peft import LoraConfig

from tests.conftest import tiny_model, tiny_tokenizer, vowel_reward
from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.hub.card import (
    BEGIN,
    END,
    PICTURE,
    CardError,
    evaluations,
    loading_section,
    name_repository,
    refresh_card,
    settings,
)
from trl_entropy.methods import methods_on
from trl_entropy.methods.clip_cov import ClipCov
from trl_entropy.methods.siren import Siren
from trl_entropy.plots.card_picture import plot_card
from trl_entropy.runlog import Run
from trl_entropy.study.worker import USAGE


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
    assert "Method: **Clip-Cov + SIREN**" in text
    for paper in (Siren.paper, ClipCov.paper):
        assert f"papers/{paper.id}" in text
        assert text.count(paper.citation) == 1
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
    assert Siren.paper.id not in text
    assert "trained with GRPO, a method" in text
    assert "Cite GRPO as:" in text
    assert "GRPO with entropy control" not in text


def test_a_run_with_a_method_is_called_so(card_of: Train):
    text = (card_of(siren_coef=0.1) / "README.md").read_text()
    assert "trained with GRPO with entropy control, a method" in text
    assert "Cite GRPO with entropy control as:" in text


def test_the_settings_are_those_that_act(arguments: Callable[..., dict]):
    def names(**given) -> set[str]:
        args = EntropyGRPOConfig(**arguments(**given))
        return set(settings(args, [kind().attach(args) for kind in methods_on(args)]))

    adaptive = {"use_adaptive_entropy", "entropy_target"}
    adaptive |= {"entropy_coef_min", "entropy_coef_max", "entropy_coef_delta"}
    assert adaptive <= names(use_adaptive_entropy=True)
    assert not adaptive & names()
    guard = {"entropy_guard", "entropy_guard_low", "entropy_guard_high"}
    assert guard <= names(siren_coef=0.1, entropy_guard="stop", entropy_guard_low=0.1)
    assert not guard & names(siren_coef=0.1)
    clip = {"epsilon", "epsilon_high"}
    assert clip <= names() and clip <= names(clip_cov_ratio=0.1) and clip <= names(kl_cov_ratio=0.1, kl_cov_clip=True)
    assert not clip & names(kl_cov_ratio=0.1)


def test_an_evaluation_after_training_reaches_the_card(card_of: Train):
    folder = card_of(siren_coef=0.1)
    card = folder / "README.md"
    before = card.read_text()
    refresh_card(folder)
    assert card.read_text() == before  # nothing is new
    assert "![Entropy of this run]" in before

    mine = before.replace(BEGIN, f"My own words.\n\n{BEGIN}") + "\nAnd a last word.\n"
    card.write_text(mine.replace("library_name:", "my_key: mine\nlibrary_name:"))
    (folder / "evaluation").mkdir()
    (folder / "evaluation" / "results.json").write_text(json.dumps(evaluation(folder)))
    refresh_card(folder)
    text = card.read_text()
    assert "| countdown | trained | pass@8 | 0.750 | 0.650 to 0.850 |" in text
    assert "![Entropy and pass@k of this run]" in text
    assert imread(folder / PICTURE).shape[1] > 1.5 * imread(folder / PICTURE).shape[0]
    for words in ("My own words.", "And a last word.", "my_key: mine", "| `siren_coef` | `0.1` |"):
        assert words in text
    results = {(r.metric_name, r.metric_value) for r in ModelCard.load(card).data.eval_results}
    assert results == {("pass@1", 0.25), ("pass@8", 0.75)}

    newer = json.loads((folder / "evaluation" / "results.json").read_text().replace("0.75", "0.5"))
    (folder / "evaluation" / "results.json").write_text(json.dumps(newer))
    refresh_card(folder)
    results = {(r.metric_name, r.metric_value) for r in ModelCard.load(card).data.eval_results}
    assert results == {("pass@1", 0.25), ("pass@8", 0.5)}
    assert card.read_text().count(BEGIN) == card.read_text().count(END) == 1


def test_results_of_others_stay_in_the_header(card_of: Train):
    folder = card_of(siren_coef=0.1)
    card = ModelCard.load(folder / "README.md")
    other = EvalResult("text-generation", "gsm8k", "gsm8k", "accuracy", 0.5, metric_name="accuracy")
    card.data.eval_results, card.data.model_name = [other], "run"
    card.save(folder / "README.md")
    (folder / "evaluation" / "deep").mkdir(parents=True)
    (folder / "evaluation" / "deep" / "results.json").write_text(json.dumps(evaluation(folder)))
    refresh_card(folder)
    results = {r.metric_name for r in ModelCard.load(folder / "README.md").data.eval_results}
    assert results == {"accuracy", "pass@1", "pass@8"}


def test_a_card_that_is_not_ours_is_left_alone(tmp_path: Path):
    refresh_card(tmp_path)
    (tmp_path / "README.md").write_text("# Mine\n")
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "results.json").write_text("{")
    refresh_card(tmp_path)
    assert (tmp_path / "README.md").read_text() == "# Mine\n"
    (tmp_path / "README.md").write_text(f"{BEGIN}\n{END}\n")
    with pytest.raises(CardError, match=r"results\.json is damaged .* Evaluate again"):
        refresh_card(tmp_path)


@pytest.mark.parametrize(
    ("model", "trained"),
    [
        ("FOLDER", True),
        ("outputs/run", True),
        ("run/", True),
        ("elsewhere/run", False),
        ("FOLDER/checkpoint-4", False),
        ("Qwen/Qwen2.5-0.5B", False),
    ],
)
def test_which_evaluation_is_the_runs_own(model: str, trained: bool, tmp_path: Path):
    folder = tmp_path / "outputs" / "run"
    (folder / "evaluation").mkdir(parents=True)
    content = evaluation(folder)
    content["figures"] = [{**content["figures"][0], "model": model.replace("FOLDER", str(folder))}]
    (folder / "evaluation" / "results.json").write_text(json.dumps(content))
    assert [found["trained"] for found in evaluations(folder)] == [trained]


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


def test_no_code_of_the_demos_card_loads_from_a_local_path(tmp_path: Path):
    usage = USAGE.format(task="countdown", folder=tmp_path, prompt="1 2 3 -> 6 :", longest=11)
    (tmp_path / "README.md").write_text(f'model_id = "{tmp_path}"\n' + usage)
    name_repository(tmp_path, "me/demo")
    text = (tmp_path / "README.md").read_text()
    assert text.count('model_id = "me/demo"') == 2
    assert str(tmp_path) not in text


def test_nothing_to_draw_draws_nothing(tmp_path: Path):
    assert plot_card(Run("run", tmp_path), tmp_path / "x.png") is False
    assert not (tmp_path / "x.png").exists()
    assert evaluations(tmp_path) == []
