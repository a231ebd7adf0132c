"""Token-level analysis of what reinforcement learning with verifiable rewards changes in a language model."""
