"""A stand-in for TRL's vLLM engine that generates with the Hugging Face model: the trainer's side of vLLM on a CPU."""

import torch


class FakeClient:
    def get_server_info(self):
        return {"model_config": {"logprobs_mode": "processed_logprobs"}}


class FakeVLLMGeneration:
    """`generate` returns (prompt ids, completion ids, per-token log-probabilities, None), as the real one does."""

    def __init__(self, model, accelerator=None, temperature=1.0, max_completion_length=8, mode="server", **kwargs):
        self.model, self.temperature, self.length, self.mode = model, temperature, max_completion_length, mode
        self.vllm_client = FakeClient()
        self.syncs = 0

    def sync_weights(self):
        self.syncs += 1

    @torch.no_grad()
    def generate(self, prompts, images=None, num_generations=1, profiler=None):
        if self.mode == "server":  # the server gets each prompt once and samples it num_generations times
            prompts = [p for p in prompts[::num_generations] for _ in range(num_generations)]
        completions, logprobs = [], []
        for prompt in prompts:
            ids, chosen = list(prompt), []
            for _ in range(self.length):
                logits = self.model(torch.tensor([ids])).logits[0, -1] / self.temperature
                word = int(torch.multinomial(logits.softmax(-1), 1))
                # an inference engine's numerics differ a little from the trainer's
                chosen.append([logits.log_softmax(-1)[word].item() + 0.01])
                ids.append(word)
                if word == 1:
                    break
            completions.append(ids[len(prompt) :])
            logprobs.append(chosen)
        return prompts, completions, logprobs, None
