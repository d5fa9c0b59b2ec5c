"""`trl-entropy law` and `trl-entropy report`, from their arguments to their files."""

import argparse
import json

import numpy as np
import pytest

from trl_entropy.commands import law, report

from .test_fit import falling_entropy


@pytest.fixture
def command():
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    law.register(subparsers)
    report.register(subparsers)

    def run(*arguments):
        args = parser.parse_args([str(a) for a in arguments])
        return args.run(args)

    return run


@pytest.fixture
def runs(tmp_path):
    entropy = falling_entropy(100)
    for name, noise in (("a", 0.01), ("b", 0.005)):
        reward = 0.6 - 0.2 * np.exp(entropy) + np.random.default_rng(1).normal(0, noise, 100)
        points = zip(range(100), entropy, reward, strict=True)
        lines = [json.dumps({"step": i, "entropy": h, "reward": r}) for i, h, r in points]
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_the_table_the_figure_and_the_json_agree(command, runs, capsys):
    assert command("law", runs / "a", runs / "b", "--out", runs / "law") == 0
    out = capsys.readouterr().out
    fits = json.loads((runs / "law.json").read_text())
    assert [fit["run"] for fit in fits] == ["a", "b"]
    for fit in fits:
        assert fit["fit"]["a"] == pytest.approx(0.2, rel=0.05)
        assert fit["forecast"]["cut"] == 15
        assert f"{fit['fit']['a']:.3g} [" in out
    assert out.count("  holds\n") == 2
    assert "paper: 0.9 % of score" in out
    assert (runs / "law.png").stat().st_size > 5000
    assert "ceiling" in (runs / "law.svg").read_text()


def test_json_goes_to_the_output_alone(command, runs, capsys):
    assert command("law", runs / "a", "--json", "--forecast", "0.5") == 0
    assert json.loads(capsys.readouterr().out)[0]["forecast"]["cut"] == 50


def test_a_run_that_cannot_be_fitted_is_named_and_the_rest_fitted(command, runs, capsys):
    (runs / "empty.jsonl").write_text("")
    (runs / "other.jsonl").write_text('{"step": 1, "loss": 1}\n')
    assert command("law", runs / "empty.jsonl", runs / "other.jsonl", runs / "a", runs / "gone") == 1
    captured = capsys.readouterr()
    for part in ("empty.jsonl: the file is empty", "metric 'entropy' was never logged. Logged: loss", "gone: no such"):
        assert part in captured.err
    assert "holds" in captured.out
    assert command("law", runs / "gone") == 2


def test_other_metrics_and_bad_shares(command, runs, capsys):
    assert command("law", runs / "a", "--reward", "eval_reward") == 2
    assert "'eval_reward' was never logged" in capsys.readouterr().err
    assert command("law", runs / "a", "--forecast", "1.5") == 2
    assert "--forecast is 1.5" in capsys.readouterr().err


def test_averaging_takes_the_noise_of_single_steps_out(command, runs, capsys):
    fits = []
    for average in (1, 5):
        assert command("law", runs / "a", "--json", "--average", average) == 0
        fits += json.loads(capsys.readouterr().out)
    assert [fit["fit"]["points"] for fit in fits] == [100, 20]
    assert fits[1]["points"] == "entropy and reward, means of 5 points"
    assert fits[1]["fit"]["rmse"] < 0.6 * fits[0]["fit"]["rmse"]
    assert fits[1]["fit"]["a"] == pytest.approx(0.2, rel=0.05)
    assert command("law", runs / "a", "--average", "0") == 2
    assert command("law", runs / "a", "--average", "80") == 2
    assert "means of 80: 1; a fit needs 2" in capsys.readouterr().err


def test_pairs_of_an_evaluation_come_before_the_training_log(command, runs, capsys):
    pairs = [{"step": i, "entropy": 1 - i / 10, "reward": 0.5 - 0.1 * np.exp(1 - i / 10)} for i in range(9)]
    (runs / "a" / "entropy_reward.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))
    assert command("law", runs / "a", "--json") == 0
    (fit,) = json.loads(capsys.readouterr().out)
    assert fit["points"] == "law_pairs/entropy and law_pairs/reward"
    assert fit["fit"]["a"] == pytest.approx(0.1)


def test_a_run_that_controls_entropy_is_called_so(command, runs, capsys):
    (runs / "a" / "settings.json").write_text('{"method": "siren"}')
    command("law", runs / "a")
    assert "this run controls entropy (siren)" in capsys.readouterr().out


def test_runs_in_folders_of_folders_are_fitted(command, runs, capsys):
    (runs / "deep" / "er").mkdir(parents=True)
    (runs / "a").rename(runs / "deep" / "er" / "a")
    assert command("law", runs, "--json") == 0
    assert {fit["run"] for fit in json.loads(capsys.readouterr().out)} == {"a", "b"}
    assert command("report", runs, "--out", runs / "report.html") == 0


def test_report_writes_beside_the_run_and_says_what_it_could_not_read(command, runs, capsys):
    assert command("report", runs / "a") == 0
    assert (runs / "a" / "report.html").exists()
    assert command("report", runs / "a", runs / "gone", "--out", runs / "deep" / "x.html", "--title", "<T>") == 1
    captured = capsys.readouterr()
    assert "gone: no such file" in captured.err
    assert "<title>&lt;T&gt;</title>" in (runs / "deep" / "x.html").read_text()
    assert command("report", runs / "gone") == 2
