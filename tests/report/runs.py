"""Folders of made-up runs for the report's tests, hostile text included."""

import json
from pathlib import Path

import numpy as np


HOSTILE = '</script><script>document.title="hacked"</script>'
WORDS = ["Let", " x", " =", " 3", "\n", " <b>", " &amp;", ' "so"', " é", "", " 🙂", HOSTILE]


def make_run(
    folder: Path, method: str, seed: int, steps: int = 60, tokens: int = 40, snapshots: int = 3, bare: bool = False
) -> Path:
    """A bare run logs entropy and reward only: its page has few pictures, and is soon drawn."""
    draws = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    time = np.linspace(0, 1, steps)
    entropy = (0.5 if method == "siren" else 0.1) + 0.8 * np.exp(-5 * time) + draws.normal(0, 0.01, steps)
    reward = 0.6 - 0.17 * np.exp(entropy) + draws.normal(0, 0.01, steps)
    rows = [
        {
            "step": i + 1, "entropy": h, "reward": r, "cov/mean": 0.1 * h, "cov/max": 4 * h,
            "completions/mean_length": 300.0, "completions/clipped_ratio": 0.02, "frac_reward_zero_std": 0.1 + r / 2,
        }
        for i, (h, r) in enumerate(zip(entropy, reward, strict=True))
    ]  # fmt: skip
    for row in rows[:: steps // 4]:
        row |= {f"heldout/pass_at_{k}": float(0.5 * row["reward"] * k**0.4) for k in (1, 4, 8)}
    if method == "siren":
        for row in rows:
            row |= {"siren/entropy": row["entropy"] + 0.2, "siren/anchor": 0.75, "siren/kept_share": 0.2}
    if bare:
        rows = [{key: row[key] for key in ("step", "entropy", "reward")} for row in rows]
    write_lines(folder / "metrics.jsonl", rows)
    arguments = {"learning_rate": 1e-4, "seed": seed, "note": "<i>$x_1$</i>"}
    arguments |= {"siren_coef": 0.5} if method == "siren" else {}
    settings = {
        "method": method,
        "methods": [{"key": "siren", "name": "SIREN"}] if method == "siren" else [],
        "seed": seed,
        "model": "<tiny>",
        "started": "2026-08-01T09:30:00+00:00",
        "arguments": arguments,
        "versions": {"trl": "1.16"},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "evaluation").mkdir()
    evaluated = [
        {"name": name, "benchmark": "amc23", "figures": {f"pass@{k}": point(low, k) for k in (1, 2, 4, 8, 16)}}
        for name, low in (("<tiny>", 0.2), (folder.name, 0.3))
    ]
    if not bare:
        (folder / "evaluation" / "results.json").write_text(json.dumps({"format": 1, "figures": evaluated}))
    steps_kept = np.linspace(1, steps, snapshots).astype(int).tolist()
    write_lines(
        folder / "token_map.jsonl", [token_row(draws, method, step, tokens) for step in steps_kept for _ in "ab"]
    )
    return folder


def point(low, k):
    return {"mean": low * k**0.35, "low": low * k**0.35 - 0.05, "high": low * k**0.35 + 0.05}


def token_row(draws, method, step, tokens):
    figures = draws.gamma(0.6, 0.6, tokens).round(4)
    row = {
        "step": step,
        "method": method,
        "prompt": f"Solve {HOSTILE}",
        "tokens": [WORDS[i % len(WORDS)] for i in range(tokens)],
        "left_out": 0,
        "entropy": figures.tolist(),
        "logp": (-figures).tolist(),
        "advantage": 0.5,
        "covariance": draws.normal(0, 1, tokens).round(4).tolist(),
    }
    if method == "siren":
        row |= {"nucleus_entropy": figures.tolist(), "nucleus_size": [2] * tokens, "kept": [1, 3, 5]}
    else:
        row |= {"clipped": [2], "penalised": [4]}
    return row


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
