"""Published training recipes: the values that a study's `rl` section starts from."""

# DAPO on Qwen2.5-32B (arXiv 2503.14476): clip-higher, token-level loss, dynamic sampling, no KL term.
DAPO = {
    "learning_rate": 1e-6,
    "warmup_steps": 10,
    "weight_decay": 0.1,
    "gradient_clip": 1.0,
    "prompts_per_step": 512,
    "mini_batch_prompts": 32,
    "responses_per_prompt": 16,
    "clip_low": 0.2,
    "clip_high": 0.28,
    "dual_clip": 10.0,
    "aggregation": "token_mean",
    "scale_advantages": True,
    "kl_coefficient": 0.0,
    "kl_estimator": "k3",
    "entropy_bonus": 0.0,
    "dynamic_sampling_draws": 10,
    "overlong": {"buffer": 4096, "factor": 1.0},
    "reward_correct": 1.0,
    "reward_wrong": -1.0,
    "max_new_tokens": 20480,
}

# GRPO as in SimpleRL-Zoo (arXiv 2503.18892): symmetric clip, k3 KL loss against the initial policy.
GRPO = {
    "learning_rate": 5e-7,
    "warmup_steps": 0,
    "weight_decay": 0.01,
    "gradient_clip": 1.0,
    "prompts_per_step": 1024,
    "mini_batch_prompts": 256,
    "responses_per_prompt": 8,
    "clip_low": 0.2,
    "clip_high": 0.2,
    "dual_clip": None,
    "aggregation": "token_mean",
    "scale_advantages": True,
    "kl_coefficient": 1e-4,
    "kl_estimator": "k3",
    "entropy_bonus": 0.001,
    "dynamic_sampling_draws": None,
    "overlong": None,
    "reward_correct": 1.0,
    "reward_wrong": 0.0,
    "max_new_tokens": 8192,
}

# Dr. GRPO as in Oat-Zero-7B (arXiv 2503.20783): advantages not divided by the standard deviation, losses by no length.
DR_GRPO = {
    "learning_rate": 1e-6,
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "gradient_clip": 1.0,
    "prompts_per_step": 128,
    "mini_batch_prompts": 16,
    "responses_per_prompt": 8,
    "clip_low": 0.2,
    "clip_high": 0.2,
    "dual_clip": None,
    "aggregation": "fixed_length",
    "scale_advantages": False,
    "kl_coefficient": 0.0,
    "kl_estimator": "k3",
    "entropy_bonus": 0.0,
    "dynamic_sampling_draws": None,
    "overlong": None,
    "reward_correct": 1.0,
    "reward_wrong": 0.0,
    "max_new_tokens": 3000,
}

RECIPES = {"dapo": DAPO, "grpo": GRPO, "dr_grpo": DR_GRPO}
