from tokenshift.rl.rollout_batches import Group, collect, shortfall


def group(name: str, correct: list[bool]) -> Group:
    return Group(name, [2, 3], [[4, 1] for _ in correct], correct)


MIXED, RIGHT, WRONG = [True, False], [True, True], [False, False]


def test_without_dynamic_sampling_every_group_is_kept():
    drawn = [group("a", MIXED), group("b", RIGHT)]
    batch = collect(lambda draw: drawn, 2, None)
    assert (batch.groups, batch.drawn, batch.draws) == (drawn, drawn, 1)
    assert shortfall(batch, 2) is None


def test_dynamic_sampling_draws_until_the_batch_is_full_of_mixed_groups():
    draws = [
        [group("a", RIGHT), group("b", MIXED)],
        [group("c", WRONG), group("d", WRONG)],
        [group("e", MIXED), group("f", MIXED)],
    ]
    batch = collect(draws.__getitem__, 2, 10)
    assert [kept.problem_id for kept in batch.groups] == ["b", "e"]
    assert (len(batch.drawn), batch.draws) == (6, 3)
    assert shortfall(batch, 2) is None


def test_draws_run_out_with_a_message():
    batch = collect(lambda draw: [group(f"{draw}", MIXED if draw == 1 else RIGHT)], 2, 3)
    assert [kept.problem_id for kept in batch.groups] == ["1"]
    assert shortfall(batch, 2) == "1 of 2 groups of mixed correctness after 3 draws of prompts; the batch is smaller"
    empty = collect(lambda draw: [group("x", RIGHT)], 2, 3)
    assert "the step is skipped" in shortfall(empty, 2)
