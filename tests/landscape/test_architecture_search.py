"""Searches find the best of a small space, and sooner with a good score."""

import numpy as np
import pytest

from kanjax.landscape import architecture_search as search

SPACE = {"depth": (1, 2, 3, 5), "width": (4, 8, 16, 32), "kind": ("a", "b")}
METHODS = (search.random_search, search.regularized_evolution, search.reinforce)


def reached(architecture):
    bonus = 0.1 * (architecture["kind"] == "b")
    return np.log(architecture["depth"] * architecture["width"]) / 6 + bonus


@pytest.mark.parametrize("method", METHODS)
def test_a_search_remembers_what_it_tried(method):
    calls = []

    def evaluate(architecture):
        calls.append(architecture)
        return reached(architecture)

    run = method(SPACE, evaluate, trials=25)
    assert len(run.architectures) == len(run.values) == 25
    assert run.values == [reached(each) for each in run.architectures]
    assert reached(run.best) == max(run.values)
    # What is drawn again is not trained again.
    assert len(calls) == len({tuple(each.items()) for each in run.architectures})
    assert (
        method(SPACE, reached, trials=25)
        == run
        != method(SPACE, reached, trials=25, seed=1)
    )


@pytest.mark.parametrize("method", METHODS)
def test_what_diverged_is_worst(method):
    """The widest cannot be trained, and has no score either."""

    def evaluate(architecture):
        return np.nan if architecture["width"] == 32 else reached(architecture)

    run = method(SPACE, evaluate, trials=60, score=evaluate, candidates=2)
    assert np.isnan(run.values).any()
    assert reached(run.best) == np.nanmax(run.values)


@pytest.mark.parametrize("method", METHODS)
def test_a_score_helps(method):
    def mean_value(**options):
        runs = [method(SPACE, reached, trials=8, seed=s, **options) for s in range(20)]
        return np.mean([np.mean(run.values) for run in runs])

    assert mean_value(score=reached, candidates=5) > mean_value() + 0.1


@pytest.mark.parametrize("method", METHODS[1:])
def test_learning_searches_beat_chance_in_the_end(method):
    runs = [method(SPACE, reached, trials=60, seed=s) for s in range(10)]
    last = np.mean([np.mean(run.values[-10:]) for run in runs])
    chance = np.mean([np.mean(run.values[:10]) for run in runs])
    # Three deviations of a mean of 100 draws.
    assert last > chance + 0.05


def test_evolution_changes_one_part_at_a_time():
    run = search.regularized_evolution(
        SPACE, reached, trials=40, population=5, tournament=5
    )
    for i in range(5, 40):
        parents = range(i - 5, i)
        best = max(parents, key=lambda j: run.values[j])
        ties = [j for j in parents if run.values[j] == run.values[best]]
        changes = [
            sum(run.architectures[i][k] != run.architectures[j][k] for k in SPACE)
            for j in ties
        ]
        assert 1 in changes


def with_budget(architecture, budget):
    return reached(architecture) - 0.5 / budget


def test_budgets_rise_for_the_best():
    run = search.bohb(SPACE, with_budget, budgets=(1, 3, 9))
    # Brackets that begin with 9, 5 and 3 architectures; a third of them goes on.
    assert run.budgets == [1] * 9 + [3] * 3 + [9] + [3] * 5 + [9] + [9] * 3
    expected = [
        with_budget(*each) for each in zip(run.architectures, run.budgets, strict=True)
    ]
    assert run.values == expected
    first = sorted(run.values[:9], reverse=True)
    np.testing.assert_allclose(run.values[9:12], np.add(first[:3], 0.5 - 0.5 / 3))
    full = [v for v, b in zip(run.values, run.budgets, strict=True) if b == 9]
    assert with_budget(run.best, 9) == max(full)


def test_a_model_of_what_was_good_beats_chance_and_a_score_helps():
    def beginners(**options):
        """The mean value of architectures that begin late with the first budget."""
        runs = [
            search.bohb(
                SPACE, with_budget, budgets=(1, 3), rounds=6, seed=seed, **options
            )
            for seed in range(10)
        ]
        late = [zip(r.values[30:], r.budgets[30:], strict=True) for r in runs]
        return np.mean([v for run in late for v, budget in run if budget == 1])

    chance = beginners(random_share=1)
    assert beginners(random_share=0) > chance + 0.1
    assert beginners(random_share=1, score=reached, candidates=5) > chance + 0.1


def test_bad_input():
    with pytest.raises(ValueError, match="budgets must rise from above 0; got"):
        search.bohb(SPACE, with_budget, budgets=(3, 1))
    with pytest.raises(ValueError, match="random_share must be from 0 to 1; got 2"):
        search.bohb(SPACE, with_budget, budgets=(1, 3), random_share=2)
    with pytest.raises(ValueError, match="'width' of space has no choices"):
        search.random_search({"width": ()}, reached, trials=1)
    with pytest.raises(ValueError, match="trials must be at least 1"):
        search.random_search(SPACE, reached, trials=0)
    with pytest.raises(ValueError, match="tournament must be 1 to population=2"):
        search.regularized_evolution(SPACE, reached, trials=3, population=2)
    with pytest.raises(ValueError, match="3 are needed"):
        search.rank_correlation([1.0, np.nan, np.inf], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="one number an architecture"):
        search.rank_correlation([1.0, 2.0], [1.0, 2.0, 3.0])
