"""Scores of a study's ensemble on small tables, beside scikit-learn's methods.

Nothing is tuned: the ensemble has the defaults of ``kanjax study``, the others those of
its report.
"""

import argparse
import json
import pathlib
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import threadpoolctl
from sklearn import datasets

from benchmarks import timing
from kanjax import compilation_cache, data, study
from kanjax.study import baselines, ensembles, evaluation, models

SPLITS = 5
OURS = "kanjax (KAN ensemble)"
NOISE = 0.1


def _generated(
    name: str, task: str, make: Callable[[], tuple[np.ndarray, np.ndarray]]
) -> tuple[str, Callable[[], Any]]:
    def load() -> data.Dataset:
        x, y = make()
        x = np.asarray(x, float)
        names = tuple(f"x{i + 1}" for i in range(x.shape[1]))
        if task == "regression":
            y = np.asarray(y, float)[:, None]
            return data.Dataset(x, y, names, ("y",), task, name)
        labels, y = np.unique(y, return_inverse=True)
        return data.Dataset(x, y, names, tuple(map(str, labels)), task, name)

    return name, load


def _formula(
    name: str, text: str, domain: tuple[float, float]
) -> tuple[str, Callable[[], Any]]:
    """A formula with noise of a tenth of its deviation."""

    def load() -> data.Dataset:
        key = jax.random.key(0)
        exact = data.feynman(key, text, rows=600, domain=domain)
        noise = NOISE * float(np.std(exact.y))
        return data.feynman(key, text, rows=600, domain=domain, noise=noise)

    return name, load


SETS: dict[str, Callable[[], Any]] = dict(
    [
        ("diabetes", lambda: data.load("diabetes")),
        _generated(
            "friedman1",
            "regression",
            lambda: datasets.make_friedman1(600, noise=1.0, random_state=0),
        ),
        _generated(
            "friedman2",
            "regression",
            lambda: datasets.make_friedman2(600, noise=40.0, random_state=0),
        ),
        _generated(
            "friedman3",
            "regression",
            lambda: datasets.make_friedman3(600, noise=0.03, random_state=0),
        ),
        _formula("gaussian", "exp(-(t/s)^2/2)/(s*sqrt(2*pi))", (1.0, 3.0)),
        _formula("gravitation", "m*n/((x-y)^2+(u-v)^2+1)", (1.0, 2.0)),
        _formula("relativity", "m/sqrt(1-(v/c)^2/4)", (1.0, 1.8)),
        _formula("pendulum", "exp(sin(pi*x)+y^2)", (-1.0, 1.0)),
        _generated(
            "swiss roll",
            "regression",
            lambda: datasets.make_swiss_roll(600, noise=0.5, random_state=0),
        ),
        ("breast_cancer", lambda: data.load("breast_cancer")),
        ("wine", lambda: data.load("wine")),
        _generated(
            "iris", "classification", lambda: datasets.load_iris(return_X_y=True)
        ),
        _generated(
            "moons",
            "classification",
            lambda: datasets.make_moons(600, noise=0.3, random_state=0),
        ),
        _generated(
            "hastie",
            "classification",
            lambda: datasets.make_hastie_10_2(1000, random_state=0),
        ),
        _generated(
            "quantiles",
            "classification",
            lambda: datasets.make_gaussian_quantiles(
                n_samples=600, n_features=4, n_classes=3, random_state=0
            ),
        ),
        ("digits", lambda: data.load("digits")),
    ]
)
SMOOTH = ("friedman1", "friedman2", "friedman3")
SMOOTH += ("gaussian", "gravitation", "relativity", "pendulum", "swiss roll")
"""Regressions whose target is a smooth function with noise."""


def main(argv: Sequence[str] | None = None) -> None:
    """Score all methods on all sets; the file is written after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--only", nargs="*", choices=SETS, help="names of sets")
    parser.add_argument("--resume", action="store_true", help="what the file lacks")
    parser.add_argument("--model", default="kan", help="of the study")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args(argv)
    # As the command line does: splits of one set share their programs.
    compilation_cache.use()
    names = ["wine"] if options.quick else options.only or list(SETS)
    splits, steps = (1, 20) if options.quick else (SPLITS, None)
    rows: dict[str, Any] = {}
    if options.resume and options.out.exists():
        rows = json.loads(options.out.read_text(encoding="utf-8"))["rows"]
    for name in names:
        if name not in rows:
            config = study.Config(data=name, model=options.model, steps=steps)
            rows[name] = _scored(name, config, splits)
            means = {m: _mean(r["scores"]) for m, r in rows[name].items()}
            print(name, means, flush=True)
        result = {
            "benchmark": "tables",
            "environment": timing.environment((*timing.PACKAGES, "scikit-learn")),
            "settings": {"splits": splits, "metric": "R2 or accuracy"},
            "rows": {n: rows[n] for n in SETS if n in rows},
            "summary": summarize(rows),
        }
        timing.write_json(options.out, result)


def _scored(name: str, config: study.Config, splits: int) -> dict[str, Any]:
    """Scores and seconds of processor time of each method, one a split."""
    scored: dict[str, Any] = {}

    def note(method: str, score: float, began: float) -> None:
        row = scored.setdefault(method, {"scores": [], "processor_seconds": []})
        row["scores"].append(round(score, 5))
        row["processor_seconds"].append(round(time.process_time() - began, 3))

    for seed in range(splits):
        key_split, key_init, key_fit = jax.random.split(jax.random.key(seed), 3)
        prepared = data.prepare(
            SETS[name](), key=key_split, domain=models.domain(config)
        )
        split, task = prepared.split, prepared.task
        scale = np.asarray(prepared.preprocessor.std)

        def score(outputs: Any, y: Any = split.test.y, task=task, scale=scale) -> float:
            return next(iter(evaluation.measure(task, outputs, y, scale).values()))

        began = time.process_time()
        model = models.build(config, prepared)
        initial = ensembles.initial_params(config, model, prepared, key_init)
        fit = ensembles.fit(config, model, initial, prepared, key_fit)
        outputs = evaluation.predict(model, fit.params, split.test.x)
        note(OURS, score(evaluation.combine(task, outputs).output), began)
        x = np.concatenate([split.train.x, split.validation.x])
        y = np.concatenate([split.train.y, split.validation.y])
        classes = len(prepared.target_names) if task == "classification" else 0
        with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for method, estimator in baselines.methods(task, seed).items():
                began = time.process_time()
                outputs = baselines.fit_and_predict(
                    task, estimator, x, y, np.asarray(split.test.x), classes
                )
                linear = ("ridge regression", "logistic regression")
                label = "ridge or logistic" if method in linear else method
                note(label, score(jnp.asarray(outputs)), began)
    return scored


def summarize(rows: dict[str, Any]) -> dict[str, Any]:
    """Mean ranks, wins and gaps to the best, of means over splits.

    Equal means share their ranks; the gap is in points of R2 or accuracy.
    """
    summary = {}
    for label, names in (
        ("all", list(rows)),
        ("smooth", [name for name in rows if name in SMOOTH]),
    ):
        if not names:
            continue
        methods = list(rows[names[0]])
        means = np.array(
            [[_mean(rows[n][m]["scores"]) for m in methods] for n in names]
        )
        better = (means[:, None] > means[:, :, None]).sum(axis=-1)
        equal = (means[:, None] == means[:, :, None]).sum(axis=-1)
        ranks = better + (equal + 1) / 2
        gaps = means.max(axis=1, keepdims=True) - means
        summary[label] = {
            m: {
                "mean_rank": round(float(ranks[:, i].mean()), 2),
                "wins": int((gaps[:, i] == 0).sum()),
                "median_gap": round(float(np.median(gaps[:, i])), 4),
                "sets": len(names),
                "median_processor_seconds": statistics.median(
                    s for n in names for s in rows[n][m]["processor_seconds"]
                ),
            }
            for i, m in enumerate(methods)
        }
    return summary


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 4)


if __name__ == "__main__":
    main()
