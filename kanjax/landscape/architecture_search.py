"""Search for an architecture, and how well a score without training guides it.

Zhang, Jia (2021), arXiv 2110.08616, section 4: a score picks among drawn architectures
before the one that is trained. Regularized evolution: Real et al. (2018), arXiv
1802.01548; REINFORCE as Ying et al. (2019), arXiv 1902.09635, run it on NAS-Bench-101;
BOHB: Falkner, Klein, Hutter (2018), arXiv 1807.01774.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Space = Mapping[str, Sequence[Any]]
"""The choices of each part of an architecture, such as ``{"depth": (1, 2, 3)}``."""
Architecture = dict[str, Any]
Evaluate = Callable[[Architecture], float]
_Densities = Mapping[str, np.ndarray]


class RankCorrelation(NamedTuple):
    """How well a score ranks, with the interval that resampling gives.

    Attributes:
        spearman: Spearman's rho.
        kendall: Kendall's tau-b, which allows for ties.
        interval: (low, high), 95 % of Spearman's over resampled architectures.
    """

    spearman: float
    kendall: float
    interval: tuple[float, float]


def rank_correlation(
    values: Sequence[float], performance: Sequence[float], *, seed: int = 0
) -> RankCorrelation:
    """Compare the ranks of a score with those of what was reached.

    Architectures whose score is not finite are left out.

    Args:
        values: a score of each architecture.
        performance: such as its accuracy after training.
        seed: of the 1,000 resamples.

    Raises:
        ValueError: if the lengths differ, or fewer than 3 scores are finite.
    """
    import scipy.stats

    a, b = np.asarray(values, float), np.asarray(performance, float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(
            f"values has shape {a.shape} and performance {b.shape}; each must have one "
            "number an architecture."
        )
    finite = np.isfinite(a)
    if finite.sum() < 3:
        raise ValueError(f"only {finite.sum()} scores are finite; 3 are needed.")
    a, b = a[finite], b[finite]
    rows = np.random.default_rng(seed).integers(0, len(a), (1000, len(a)))
    left, right = (scipy.stats.rankdata(v[rows], axis=1) for v in (a, b))
    left, right = (v - v.mean(axis=1, keepdims=True) for v in (left, right))
    # Resamples that are all one architecture have no ranks: not a number.
    with np.errstate(invalid="ignore"):
        resampled = np.sum(left * right, axis=1) / np.sqrt(
            np.sum(left**2, axis=1) * np.sum(right**2, axis=1)
        )
    low, high = np.nanquantile(resampled, (0.025, 0.975))
    spearman = np.asarray(scipy.stats.spearmanr(a, b))[0]
    kendall = np.asarray(scipy.stats.kendalltau(a, b))[0]
    return RankCorrelation(float(spearman), float(kendall), (float(low), float(high)))


class Search(NamedTuple):
    """What a search tried, in its order.

    Attributes:
        architectures: those that were evaluated.
        values: what each of them reached.
        best: the best of them.
    """

    architectures: list[Architecture]
    values: list[float]
    best: Architecture


def random_search(
    space: Space,
    evaluate: Evaluate,
    *,
    trials: int,
    score: Evaluate | None = None,
    candidates: int = 1,
    seed: int = 0,
) -> Search:
    """Evaluate random architectures, each the best by score of several.

    Args:
        space: the choices.
        evaluate: what an architecture reaches; higher is better, and NaN, as of a
            training that diverged, is worst. An architecture that is drawn again is not
            evaluated again.
        trials: how many are drawn for evaluation.
        score: a quick guess of that; None takes what is drawn.
        candidates: how many are drawn for each trial.
        seed: of the draws.

    Raises:
        ValueError: if a part has no choices, or trials or candidates are below 1.

    Examples:
        >>> space = {"depth": (1, 2, 3), "width": (4, 8)}
        >>> size = lambda a: a["depth"] * a["width"]
        >>> random_search(space, size, trials=4, score=size, candidates=20).best
        {'depth': 3, 'width': 8}
    """
    run = _Run(space, evaluate, score, candidates, seed, trials=trials)
    for _ in range(trials):
        run.try_best([run.draw() for _ in range(candidates)])
    return run.result()


def regularized_evolution(
    space: Space,
    evaluate: Evaluate,
    *,
    trials: int,
    population: int = 10,
    tournament: int = 3,
    score: Evaluate | None = None,
    candidates: int = 1,
    seed: int = 0,
) -> Search:
    """Mutate the best of a few of the youngest architectures; the oldest dies.

    Args:
        space: as for :func:`random_search`.
        evaluate: as for :func:`random_search`.
        trials: evaluations in all, the first population among them.
        population: how many live.
        tournament: how many of them the parent is the best of.
        score: picks among the first draws, and among mutations of a parent.
        candidates: how many of these there are for each trial.
        seed: of the draws.

    Raises:
        ValueError: as for :func:`random_search`, and unless tournament is at most
            population.
    """
    if not 1 <= tournament <= population:
        raise ValueError(
            f"tournament must be 1 to population={population}; got {tournament}."
        )
    run = _Run(space, evaluate, score, candidates, seed, trials=trials)
    living: list[int] = []
    for trial in range(trials):
        if trial < population:
            drawn = [run.draw() for _ in range(candidates)]
        else:
            entrants = run.random.choice(living, tournament, replace=False)
            parent = max(entrants, key=run.rank)
            drawn = [run.mutate(run.tried[parent]) for _ in range(candidates)]
        run.try_best(drawn)
        living = [*living, trial][-population:]
    return run.result()


def reinforce(
    space: Space,
    evaluate: Evaluate,
    *,
    trials: int,
    rate: float = 0.5,
    decay: float = 0.9,
    score: Evaluate | None = None,
    candidates: int = 1,
    seed: int = 0,
) -> Search:
    """Draw from independent softmax policies that rewards move.

    ``logits += rate (value - baseline) (one_hot - probabilities)``, the baseline a
    running mean of the values.

    Args:
        space: as for :func:`random_search`.
        evaluate: as for :func:`random_search`.
        trials: as for :func:`random_search`.
        rate: the step size.
        decay: of the baseline.
        score: picks among what the policy draws.
        candidates: how many it draws for each trial.
        seed: of the draws.

    Raises:
        ValueError: as for :func:`random_search`.
    """
    import scipy.special

    run = _Run(space, evaluate, score, candidates, seed, trials=trials)
    logits = {name: np.zeros(len(choices)) for name, choices in space.items()}
    baseline = None
    for _ in range(trials):
        policy = {
            name: scipy.special.softmax(values) for name, values in logits.items()
        }
        run.try_best([run.draw(policy) for _ in range(candidates)])
        value = run.values[-1]
        if not math.isfinite(value):
            continue
        baseline = value if baseline is None else baseline
        for name, choices in space.items():
            taken = list(choices).index(run.tried[-1][name])
            chosen = np.arange(len(choices)) == taken
            logits[name] += rate * (value - baseline) * (chosen - policy[name])
        baseline = decay * baseline + (1 - decay) * value
    return run.result()


class BudgetSearch(NamedTuple):
    """What a search tried with small and large budgets, in its order.

    Attributes:
        architectures: those that were evaluated.
        budgets: with how much.
        values: what each of them reached.
        best: the best of those that had the largest budget.
    """

    architectures: list[Architecture]
    budgets: list[float]
    values: list[float]
    best: Architecture


def bohb(
    space: Space,
    evaluate: Callable[[Architecture, float], float],
    *,
    budgets: Sequence[float],
    rounds: int = 1,
    random_share: float = 1 / 3,
    score: Evaluate | None = None,
    candidates: int = 1,
    seed: int = 0,
) -> BudgetSearch:
    """Try many with small budgets, give the best larger ones, and learn from all.

    Hyperband: for each budget some architectures begin with it, and of those that had
    one budget the best go on to the next, as many fewer as it is larger. What is drawn
    is the likeliest of 64 under the densities of good architectures over those of the
    others (each part by itself), at the largest budget that enough have had.

    Args:
        space: as for :func:`random_search`.
        evaluate: ``evaluate(architecture, budget)``, what it reaches with that budget,
            such as epochs; higher is better.
        budgets: from the smallest to the largest, such as ``(1, 3, 9)``.
        rounds: how often each budget is begun with.
        random_share: the share of architectures that are drawn from the space.
        score: picks among what is drawn.
        candidates: how many are drawn for each that begins.
        seed: of the draws.

    Raises:
        ValueError: as for :func:`random_search`, and if budgets do not rise from above
            0, or random_share is not from 0 to 1.

    Examples:
        >>> space = {"depth": (1, 2, 3), "width": (4, 8)}
        >>> reach = lambda a, budget: a["depth"] * a["width"] * budget / (1 + budget)
        >>> search = bohb(space, reach, budgets=(1, 3, 9), rounds=2)
        >>> search.best, [search.budgets.count(b) for b in (1, 3, 9)]
        ({'depth': 3, 'width': 8}, [18, 16, 10])
    """
    steps = list(zip([0, *budgets], budgets, strict=False))
    if not steps or any(small >= large for small, large in steps):
        raise ValueError(f"budgets must rise from above 0; got {list(budgets)}.")
    if not 0 <= random_share <= 1:
        raise ValueError(f"random_share must be from 0 to 1; got {random_share}.")
    run = _Run(space, evaluate, score, candidates, seed, trials=rounds)
    kinds = len(budgets)
    for first in [*range(kinds)] * rounds:
        # As many that the begun brackets cost about the same.
        beginners = math.ceil(kinds / (kinds - first) * budgets[-1] / budgets[first])
        for _ in range(beginners):
            model = run.model() if run.random.random() >= random_share else None
            run.try_best(
                [run.draw_likely(model) for _ in range(candidates)], budgets[first]
            )
        living = range(len(run.tried) - beginners, len(run.tried))
        for small, large in zip(budgets[first:], budgets[first + 1 :], strict=False):
            survivors = max(1, math.floor(len(living) * small / large + 1e-9))
            ranks = sorted(living, key=run.rank, reverse=True)
            begin = len(run.tried)
            for i in ranks[:survivors]:
                run.try_best([run.tried[i]], large)
            living = range(begin, len(run.tried))
    full = [i for i, budget in enumerate(run.budgets) if budget == budgets[-1]]
    best = run.tried[max(full, key=run.rank)]
    return BudgetSearch(run.tried, run.budgets, run.values, best)


class _Run:
    """A search under way: what was tried, and what each architecture reached."""

    def __init__(
        self,
        space: Space,
        evaluate: Callable[..., float],
        score: Evaluate | None,
        candidates: int,
        seed: int,
        *,
        trials: int,
    ):
        for name, choices in space.items():
            if not len(choices):
                raise ValueError(f"{name!r} of space has no choices.")
        for name, number in (("trials", trials), ("candidates", candidates)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1; got {number}.")
        self.space, self.evaluate, self.score = space, evaluate, score
        self.random = np.random.default_rng(seed)
        self.tried: list[Architecture] = []
        self.values: list[float] = []
        self.budgets: list[float] = []
        self._known: dict[Hashable, float] = {}

    def draw(self, policy: Mapping[str, np.ndarray] | None = None) -> Architecture:
        return {
            name: choices[self.random.choice(len(choices), p=(policy or {}).get(name))]
            for name, choices in self.space.items()
        }

    def mutate(self, parent: Architecture) -> Architecture:
        """Change one part of the parent that has another choice."""
        free = [name for name, choices in self.space.items() if len(choices) > 1]
        if not free:
            return dict(parent)
        name = free[self.random.integers(len(free))]
        others = [choice for choice in self.space[name] if choice != parent[name]]
        return {**parent, name: others[self.random.integers(len(others))]}

    def model(self) -> tuple[_Densities, _Densities] | None:
        """Return densities of the good architectures and of the others, or None."""
        least = len(self.space) + 1
        for budget in sorted(set(self.budgets), reverse=True):
            had = [i for i, b in enumerate(self.budgets) if b == budget]
            if len(had) < least + 2:
                continue
            had.sort(key=self.rank, reverse=True)
            good = max(least, round(0.15 * len(had)))
            rest = had[min(good, len(had) - 2) :]
            return self._densities(had[:good]), self._densities(rest)
        return None

    def draw_likely(self, model: tuple[_Densities, _Densities] | None) -> Architecture:
        """Draw from the good ones' density what is likely beside that of the others."""
        if model is None:
            return self.draw()
        good, others = model

        def ratio(architecture: Architecture) -> float:
            places = {
                name: list(choices).index(architecture[name])
                for name, choices in self.space.items()
            }
            return math.prod(good[k][i] / others[k][i] for k, i in places.items())

        return max([self.draw(good) for _ in range(64)], key=ratio)

    def _densities(self, rows: Sequence[int]) -> _Densities:
        """Count the choices of each part, each once more than it is there."""
        shares = {}
        for name, choices in self.space.items():
            taken = [list(choices).index(self.tried[i][name]) for i in rows]
            counts = 1 + np.bincount(taken, minlength=len(choices))
            shares[name] = counts / counts.sum()
        return shares

    def try_best(self, drawn: Sequence[Architecture], *budget: float) -> None:
        score = self.score
        best = drawn[0] if score is None else max(drawn, key=lambda a: _low(score(a)))
        place = (*best.items(), *budget)
        if place not in self._known:
            self._known[place] = float(self.evaluate(best, *budget))
        self.tried.append(best)
        self.values.append(self._known[place])
        self.budgets.extend(budget)

    def result(self) -> Search:
        best = max(range(len(self.tried)), key=self.rank)
        return Search(self.tried, self.values, self.tried[best])

    def rank(self, trial: int) -> float:
        """Return the value of a trial for comparisons."""
        return _low(self.values[trial])


def _low(value: float) -> float:
    """Return a value that compares: what is not a number is worse than any."""
    return -math.inf if math.isnan(value) else value
