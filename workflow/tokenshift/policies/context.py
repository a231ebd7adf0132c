"""Whether prompts with the longest responses fit into the models' contexts, before any model is run."""

from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl
from transformers import AutoConfig, PreTrainedTokenizerBase

from tokenshift.config.problems import Prompt
from tokenshift.config.specs import Fit
from tokenshift.errors import StudyError
from tokenshift.policies.models import load_tokenizer, trusts
from tokenshift.problems.prompts import encode_prompt, prompt_text, unknown_characters_refused

Lengths = Callable[[list[str]], list[int]]  # of texts, in tokens


def context_of(folder: Path) -> int | None:
    """Positions that the model of a folder was built for; None where its configuration sets no limit."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trusts(folder)).get_text_config()
    return getattr(config, "max_position_embeddings", None)


def require_room(fits: Iterable[Fit], problems: dict[str, pl.DataFrame], folders: dict[str, Path]) -> None:
    """Raise StudyError at the first problem whose prompt, with the tokens that may follow, exceeds a model's context.

    Args:
        fits: which problems which model has to have room for.
        problems: problem sets and corpora, by names such as problems/heldout.
        folders: the existing models, by name; of a model that is trained from nothing, a character is a token.
    """
    tokenizers = {name: load_tokenizer(folder) for name, folder in folders.items()}
    known: dict[tuple[str, str, str], list[int]] = {}
    for fit in fits:
        limit = context_of(folders[fit.root]) if fit.context is None else fit.context
        rows = problems[fit.problems]
        if limit is None:
            continue
        key = (fit.root, fit.problems, fit.prompt.model_dump_json())
        if key not in known:
            of_prompts, of_texts = _lengths(tokenizers.get(fit.root), fit.prompt)
            known[key] = of_prompts(rows["problem"].to_list())
            if "solution" in rows.columns:
                solutions = of_texts(rows["solution"].to_list())
                known[key] = [before + after + 1 for before, after in zip(known[key], solutions, strict=True)]
        longest = max(known[key], default=0)
        if longest + fit.new_tokens > limit:
            problem = rows["problem_id"][known[key].index(longest)]
            what = "with its solution " if "solution" in rows.columns else "as a prompt "
            raise StudyError(
                f"{fit.setting}: problem {problem} of {fit.problems} has {what}{longest} tokens, which with "
                f"{fit.new_tokens} new ones exceed the context of model {fit.root}, {limit}: lower the new tokens, "
                "leave long problems out, or take a model with a longer context"
            )


def _lengths(tokenizer: PreTrainedTokenizerBase | None, prompt: Prompt) -> tuple[Lengths, Lengths]:
    """How many tokens become of problems as prompts, and of solutions; without a tokenizer, characters are tokens."""
    if tokenizer is None:
        return lambda texts: [len(prompt_text(prompt, text)) for text in texts], lambda texts: [*map(len, texts)]

    def of_prompts(texts: list[str]) -> list[int]:
        with unknown_characters_refused(tokenizer):
            return [len(encode_prompt(tokenizer, prompt, text)) for text in texts]

    def of_texts(texts: list[str]) -> list[int]:
        with unknown_characters_refused(tokenizer):
            return [*map(len, tokenizer(texts, add_special_tokens=False).input_ids)]

    return of_prompts, of_texts
