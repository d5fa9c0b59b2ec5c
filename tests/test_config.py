"""Bad input is refused before anything loads: what was given, what is allowed, what to do."""

import warnings

import pytest
from trl import GRPOConfig, TrlParser

from tests.conftest import tiny_model, tiny_tokenizer, vowel_reward
from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer


REFUSED = {
    "siren_coef": (-0.1, ">= 0"),
    "siren_top_p": (0.0, r"\(0, 1\]"),
    "siren_quantile": (1.0, r"\[0, 1\)"),
    "siren_nucleus": ("both", "inclusive"),
    "siren_anchor": (-1.0, "nats >= 0"),
    "siren_penalty": ("upper", "two_sided"),
    "clip_cov_ratio": (1.0, "0.0002"),
    "clip_cov_low": (float("nan"), "finite"),
    "clip_cov_high": (0.5, "above clip_cov_low"),
    "kl_cov_ratio": (20, "fraction"),
    "kl_cov_coef": (0.0, "> 0"),
    "entropy_scope": ("global", "micro_batch"),
    "log_token_map": (-1, "whole number >= 0"),
    "log_token_map_steps": (0, "whole number >= 1"),
    "log_entropy_dynamics_steps": (2.5, "whole number >= 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_out_of_range(name, arguments):
    value, allowed = REFUSED[name]
    on = {"clip_cov_ratio": 0.1} if name == "clip_cov_high" else {}  # two arguments are compared only while they count
    with pytest.raises(ValueError, match=rf"{name}=.*is not allowed; give.*{allowed}"):
        EntropyGRPOConfig(**arguments(**{**on, name: value}))


def test_a_string_for_a_number_is_refused(arguments):
    with pytest.raises(ValueError, match="siren_coef='much' is not allowed"):
        EntropyGRPOConfig(**arguments(siren_coef="much"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"clip_cov_ratio": 0.1, "kl_cov_ratio": 0.1}, "Set one of them"),
        ({"kl_cov_ratio": 0.1, "steps_per_generation": 1}, "steps_per_generation .*num_iterations"),
        ({"kl_cov_ratio": 0.1, "steps_per_generation": 2, "gradient_accumulation_steps": 4}, "strictly on-policy"),
        ({"kl_cov_ratio": 0.1, "delta": 2.0}, "Set kl_cov_clip=True to keep the clip, or leave delta out"),
        ({"siren_coef": 0.1, "max_completion_length": 1}, "a single token never lies above"),
        ({"siren_coef": 0.1, "siren_penalty": "lower", "siren_anchor": 0.0}, "entropy is never below 0"),
        ({"log_token_map_steps": 5}, "log_token_map is not set"),
        ({"log_entropy_dynamics_steps": 5}, "log_entropy_dynamics is not set"),
        ({"siren_top_p": 0.9}, "siren_coef is not set"),
        ({"siren_nucleus": "exclusive"}, "siren_coef is not set"),
        ({"clip_cov_low": 0.5}, "clip_cov_ratio is not set"),
        ({"kl_cov_clip": True}, "kl_cov_ratio is not set"),
        ({"kl_cov_ratio": 0.1, "kl_cov_clip": True, "loss_type": "sapo"}, "no PPO clip to keep"),
    ],
)
def test_contradictions_and_settings_without_effect(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))


def test_a_scope_that_nothing_reads_is_refused_before_the_model_loads(arguments, dataset):
    config = EntropyGRPOConfig(**arguments(entropy_scope="micro_batch"))
    with pytest.raises(ValueError, match="no method is on"):
        EntropyGRPOTrainer("no/such-model", vowel_reward, config, train_dataset=dataset)


def test_kl_cov_is_allowed_wherever_the_policy_moves(arguments):
    for moving in ({"steps_per_generation": 2}, {"steps_per_generation": 1, "num_iterations": 2}):
        assert EntropyGRPOConfig(**arguments(kl_cov_ratio=0.1, **moving)).entropy_methods == ("KL-Cov",)


def test_unreachable_band_warns(arguments):
    with pytest.warns(UserWarning, match="hardly a token reaches it"):
        EntropyGRPOConfig(**arguments(clip_cov_ratio=0.1, scale_rewards="none"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        EntropyGRPOConfig(**arguments(clip_cov_ratio=0.1, clip_cov_low=0.1, scale_rewards="none"))


def test_an_epsilon_that_kl_cov_opens_warns(arguments):
    with pytest.warns(UserWarning, match="epsilon_high=0.28 has no effect"):
        EntropyGRPOConfig(**arguments(kl_cov_ratio=0.1, epsilon_high=0.28))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        EntropyGRPOConfig(**arguments(kl_cov_ratio=0.1, epsilon_high=0.28, kl_cov_clip=True))


def test_a_bad_literal_in_yaml_is_refused(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("siren_coef: 0.005\nsiren_nucleus: includes\noutput_dir: x\nbf16: false\nuse_cpu: true\n")
    with pytest.raises(ValueError, match='"inclusive" or "exclusive"'):
        TrlParser(EntropyGRPOConfig).parse_args_and_config(["--config", str(path)])


def test_a_plain_config_is_refused_before_the_model_is_touched(arguments, dataset):
    with pytest.raises(TypeError, match="needs an EntropyGRPOConfig"):
        EntropyGRPOTrainer("no/such-model", vowel_reward, GRPOConfig(**arguments()), train_dataset=dataset)


def test_kl_cov_opens_the_clip_and_clip_cov_does_not(arguments, dataset):
    def epsilons(**given):
        config = EntropyGRPOConfig(**arguments(**given))
        trainer = EntropyGRPOTrainer(
            tiny_model(), vowel_reward, config, train_dataset=dataset, processing_class=tiny_tokenizer()
        )
        return trainer.epsilon_low, trainer.epsilon_high

    inf = float("inf")
    assert epsilons(kl_cov_ratio=0.1) == (inf, inf)
    assert epsilons(kl_cov_ratio=0.1, kl_cov_clip=True) == (0.2, 0.2)
    assert epsilons(clip_cov_ratio=0.1) == (0.2, 0.2)
