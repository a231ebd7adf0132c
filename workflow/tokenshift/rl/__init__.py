"""Reinforcement learning with verifiable rewards: advantages, losses, weights, rollout batches and the trainer."""
