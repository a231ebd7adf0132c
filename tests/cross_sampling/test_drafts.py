import numpy as np
import pytest

from tokenshift.cross_sampling.drafts import WARM_UP, DraftLengths, expected_tokens


def chosen(cut: float, step: float, start: float, slope: float, longest: int = 32, rows: int = 4, **kwargs) -> int:
    """The draft length settled on where steps take `step` and verifications start + slope * length seconds."""
    drafts = DraftLengths(None, longest, **({"primary_alone": False} | kwargs))
    for _ in range(len(WARM_UP) + 1):
        length = drafts.choose(np.full(rows, cut))
        for _ in range(length):
            drafts.observe_step(rows, step)
        drafts.observe_verification(rows, length, start + slope * length)
    return length


def test_expected_tokens_are_those_of_simulated_drafts():
    cuts = np.random.default_rng(0).random((200_000, 6)) < 0.2
    lengths = np.where(cuts.any(axis=1), cuts.argmax(axis=1) + 1, 6)
    assert expected_tokens(np.array([0.2]), np.array([6]))[0, 0] == pytest.approx(lengths.mean(), rel=0.01)


@pytest.mark.parametrize(("cut", "best"), [(0.02, 10), (0.05, 6), (0.10, 4), (0.17, 3)])
def test_where_memory_binds_the_length_is_about_the_root_of_two_over_the_cut_rate(cut, best):
    assert abs(chosen(cut, 1.0, 1.0, 0.0) - best) <= 1


def test_where_arithmetic_binds_drafting_does_not_pay():
    assert chosen(0.2, 1.0, 0.0, 1.0) == 1
    assert chosen(0.02, 1.0, 0.3, 0.7) < chosen(0.02, 1.0, 1.0, 0.0)


def rate(drafts: DraftLengths, cut: float, beside: float, rounds: int = 2000) -> float:
    """Tokens a second of 4 rows where steps and verifications take 1 second, and drafts of several tokens `beside`."""
    random, tokens, seconds = np.random.default_rng(0), 0, 0.0
    for number in range(rounds):
        length = drafts.choose(np.full(4, cut))
        late = 5.0 if number < 3 else 0.0  # the first passes
        took = length + 1 + (beside if length > 1 else 0.0) + late
        cuts = random.random((4, length)) < cut
        decided = int(np.where(cuts.any(axis=1), cuts.argmax(axis=1) + 1, length).sum())
        for _ in range(length):
            drafts.observe_step(4, 1.0 + late / (length + 1))
        drafts.observe_verification(4, length, 1.0)
        drafts.observe_round(4, length, decided, took)
        tokens, seconds = tokens + decided, seconds + took
    return tokens / seconds


@pytest.mark.parametrize("beside", [0.0, 2.0, 20.0])
@pytest.mark.parametrize("cut", [0.01, 0.19, 0.5, 0.9])
def test_never_much_worse_than_lock_step_whatever_rounds_cost_beside(cut, beside):
    chosen, lock_step = (rate(DraftLengths(fixed, 32, False), cut, beside) for fixed in (None, 1))
    assert chosen > 0.95 * lock_step  # other lengths are tried now and then
    if beside == 0 and cut == 0.01:
        assert chosen > 1.5 * lock_step


def test_bounds():
    assert chosen(0.001, 1.0, 1.0, 0.0, longest=5) == 5
    assert DraftLengths(7, 32, False).choose(np.array([0.5])) == 7
    assert DraftLengths(7, 4, False).choose(np.array([0.5])) == 4
    assert DraftLengths(None, 0, False).choose(np.array([0.5])) == 1


def test_rules_that_look_at_the_primary_alone_ask_sooner_when_many_rows_wait():
    one, many = (chosen(0.05, 1.0, 1.0, 0.0, rows=rows, primary_alone=True) for rows in (1, 64))
    assert one == 1  # a waiting row holds up no other
    assert many > 1
