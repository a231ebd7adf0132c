"""Attention over cached rows, for transformers' models: heads that share keys and values read them without copies.

Query heads that share keys and values are laid side by side as further queries of one head, each with the mask of its
position. PyTorch's kernels take no mask together with grouped heads, and copying keys and values for each query head,
as transformers does, costs more than the attention itself.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "rows"  # among transformers' implementations of attention
MOST_QUERIES = 64  # of a row


def row_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: object
) -> tuple[Tensor, None]:
    """Attention of queries (B, heads, Q, D) over keys and values (B, key heads, slots, D): (B, Q, heads, D).

    `attention_mask` (B, 1, Q, slots) is true where a query sees a slot. What has no such mask is left to transformers,
    and so are many queries, for which copied masks would be larger than copied keys.
    """
    group = query.shape[1] // key.shape[1]
    masked = attention_mask is not None and attention_mask.shape[1] == 1 and options.get("position_bias") is None
    if group == 1 or not masked or query.shape[2] > MOST_QUERIES or options.get("softcap") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    queries = query.shape[2]
    side_by_side = query.unflatten(1, (key.shape[1], group)).flatten(2, 3)  # (B, key heads, group * Q, D)
    mask = attention_mask.repeat(1, 1, group, 1)
    attended = torch.nn.functional.scaled_dot_product_attention(
        side_by_side, key, value, attn_mask=mask, scale=options.get("scaling")
    )
    return attended.unflatten(2, (group, queries)).flatten(1, 2).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, row_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextlib.contextmanager
def attending_by_rows(model: PreTrainedModel) -> Iterator[None]:
    """Inside, `model` attends as above, if it does with PyTorch's kernels otherwise and lets others be put there."""
    config = model.config.get_text_config(decoder=True)
    if config._attn_implementation != "sdpa" or not model._supports_attention_backend:
        yield
        return
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"
