import numpy as np
import pytest
from scipy.stats import kendalltau

from offramp.search.features import Features
from offramp.search.problem import Problem
from offramp.search.surrogates import MODELS, SURROGATES, best_ranking, fit, rank_correlation

RNG = np.random.default_rng(0)
X = RNG.random((120, 6))
Y = 3 * X[:, 0] - 2 * X[:, 1] ** 2 + np.sin(3 * X[:, 2])


@pytest.mark.parametrize("name", SURROGATES)
def test_it_learns(name: str) -> None:
    model = fit(name, X[:80], Y[:80])
    assert kendalltau(model.predict(X[80:]), Y[80:]).statistic > 0.7


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_from_noise_and_few_points_without_a_wild_guess(name: str) -> None:
    y = RNG.normal(size=9)
    predicted = fit(name, X[:9], y).predict(X * 100)
    assert np.ptp(y) * 3 >= np.ptp(predicted)


ODD = {
    "a constant gene": (np.column_stack([X, np.ones(120)]), Y),
    "only constant genes": (np.ones((120, 4)), Y),
    "a feature that is NaN": (np.where(X > 0.9, np.nan, X), Y),
    "an infinite feature": (np.where(X > 0.9, np.inf, X), Y),
    "equal points": (np.concatenate([X[:20], X[:20]]), np.concatenate([Y[:20], Y[:20]])),
    "equal points, other targets": (np.concatenate([X[:20], X[:20]]), np.concatenate([Y[:20], Y[20:40]])),
    "a constant target": (X, np.full(120, 3.5)),
    "targets that are NaN": (X, np.where(X[:, 0] > 0.5, np.nan, Y)),
    "no target": (X, np.full(120, np.nan)),
    "two points": (X[:2], Y[:2]),
    "one point": (X[:1], Y[:1]),
    "none": (X[:0], Y[:0]),
    "huge targets": (X, Y * 1e12),
    "tiny targets": (X, Y * 1e-12),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("case", ODD)
def test_odd_points_never_end_a_search(name: str, case: str) -> None:
    x, y = ODD[case]
    predicted = fit(name, x, y).predict(np.nan_to_num(x[:10]))
    assert predicted.shape == (min(10, len(x)),)
    assert np.isfinite(predicted).all()
    assert len(rank_correlation(name, x[:30], y[:30])) == 2


def test_a_constant_target_is_predicted() -> None:
    assert fit("gp", X, np.full(120, 3.5)).predict(X[:2]) == pytest.approx([3.5, 3.5])


def test_auto_takes_what_ranks_best() -> None:
    scores = {name: rank_correlation(name, X[:60], Y[:60]) for name in MODELS}
    found = fit("auto", X[:60], Y[:60])
    assert found.ranks == scores
    assert scores[found.name][0] - scores[found.name][1] == max(mean - std for mean, std in scores.values())
    assert fit("gp", X[:60], Y[:60]).ranks == {}


def test_a_model_that_is_right_on_the_whole_but_not_always_is_not_taken() -> None:
    assert best_ranking({"gp": (0.8, 0.3), "rbf": (0.7, 0.1), "trees": (0.1, 0.0)}) == "rbf"


@pytest.mark.parametrize("case", ODD)
def test_odd_points_never_end_the_choice_among_models(case: str) -> None:
    x, y = ODD[case]
    found = fit("auto", x[:12], y[:12])
    assert found.name in MODELS
    assert np.isfinite(found.predict(np.nan_to_num(x[:5]))).all()
    assert np.isfinite(list(found.ranks.values())).all()


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match="known are gp, rbf, trees, mlp, auto"):
        fit("forest", X, Y)


def test_features(toy) -> None:
    features = Features(Problem(toy, ("error",)))
    table = features([(0, 0, 0, 0, 0, 0, 0), (2, 1, 2, 1, 1, 1, 0)])
    # width, deep, second, pool (2 columns), kernels (2), exit, stride
    assert table.tolist() == [[0, 0, 0, 1, 0, 1, 0, 0, 0], [1, 1, pytest.approx(2 / 3), 0, 1, 0, 1, 1, 0]]
    known = Features(Problem(toy, ("error",), known=lambda candidate: {"params": np.e, "full_macs": np.e**2}))
    assert known([(0,) * 7])[0, -2:] == pytest.approx([3, 6])


def test_what_is_told_of_a_model_is_told_of_points_it_has_not_seen():
    """Trees know by heart what they were fitted to; of noise nothing can be foretold."""
    rng = np.random.default_rng(0)
    mean, _ = rank_correlation("trees", rng.normal(size=(60, 5)), rng.normal(size=60))
    assert abs(mean) < 0.35
