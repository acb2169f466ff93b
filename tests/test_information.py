"""Mutual information between shapes and codes, where it is known: by reasoning, by quadrature, by Shannon's formula."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from crvae3d.errors import InputError
from crvae3d.evaluation import information
from crvae3d.evaluation.information import information_cap, mean_rate, mutual_information


def posteriors(shapes: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(shapes, size)), np.exp(0.3 * draw.normal(size=(shapes, size)))


def exact(means: np.ndarray, stddevs: np.ndarray) -> float:
    """The entropy of the mixture less the mean entropy of its parts, in one dimension."""
    means, stddevs = means[:, 0], stddevs[:, 0]

    def integrand(z: float) -> float:
        density = norm.pdf(z, means, stddevs).mean()
        return -density * math.log(density)

    entropy = quad(integrand, (means - 9 * stddevs).min(), (means + 9 * stddevs).max(), limit=200)[0]
    return entropy - np.mean(norm.entropy(means, stddevs))


@pytest.mark.parametrize("apart", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("stddevs", [(1.0, 1.0), (1.0, 0.2)])
def test_of_two_overlapping_gaussians_it_is_the_integral(apart, stddevs):
    given = np.array([[0.0], [apart]]), np.array(stddevs)[:, None]
    assert mutual_information(*given, samples=20_000) == pytest.approx(exact(*given), abs=0.01)


def test_of_many_different_gaussians_it_is_the_integral():
    means, stddevs = posteriors(7, 1)
    given = 2 * means, stddevs
    assert mutual_information(*given, samples=5_000) == pytest.approx(exact(*given), abs=0.015)


def test_independent_dimensions_add_up():
    """A grid of places: the two axes are independent, and each tells what it tells alone."""
    axis = np.array([0.0, 1.0, 2.5])
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    alone = exact(axis[:, None], np.full((3, 1), 0.7))
    assert mutual_information(grid, np.full((9, 2), 0.7), samples=4_000) == pytest.approx(2 * alone, abs=0.02)


def test_many_shapes_are_a_gaussian_channel():
    """Shannon: 1/2 log(1 + S/N) nats of each dimension, where means of variance S meet noise of variance N."""
    means = np.random.default_rng(0).normal(size=(4000, 2)) * math.sqrt(0.75)
    given = means, np.full((4000, 2), 0.5)
    assert mutual_information(*given) == pytest.approx(math.log(1 + 0.75 / 0.25), abs=0.04)
    assert mean_rate(*given) == pytest.approx(mutual_information(*given), abs=0.06)  # all together they are the prior


def test_equal_posteriors_tell_nothing():
    given = np.full((50, 8), 0.7), np.full((50, 8), 0.2)
    assert mutual_information(*given) == pytest.approx(0, abs=1e-9) and mean_rate(*given) > 1


@pytest.mark.parametrize("shapes", [1, 2, 33])
def test_posteriors_far_apart_tell_the_shape_and_no_more(shapes):
    means, stddevs = posteriors(shapes, 16)
    for deviation in (1e-3, 1e-12):
        assert mutual_information(means, deviation * stddevs) == information_cap(shapes)
    assert information_cap(shapes) == pytest.approx(math.log(shapes))


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0, 30.0])
def test_the_cap_is_never_exceeded_and_more_spread_tells_more(spread):
    means, stddevs = posteriors(60, 5)
    found = [mutual_information(factor * means, stddevs, samples=20) for factor in (spread, 1.5 * spread)]
    assert -0.02 < found[0] <= found[1] <= information_cap(60)


def test_units_and_origin_of_the_code_do_not_matter():
    means, stddevs = posteriors(40, 6)
    plain = mutual_information(means, stddevs)
    scale = np.array([1e-3, 0.1, 1, 5, 100, 1e4])
    assert mutual_information(scale * means + 1e7 * scale, scale * stddevs) == pytest.approx(plain, abs=1e-6)
    mixed = np.random.default_rng(3).permutation(40)
    assert mutual_information(means[mixed], stddevs[mixed], samples=300) == pytest.approx(
        mutual_information(means, stddevs, samples=300), abs=0.05
    )


def test_a_dimension_that_is_the_same_for_all_adds_nothing():
    means, stddevs = posteriors(40, 2)
    wide = np.hstack([means, np.full((40, 3), 5.0)]), np.hstack([stddevs, np.ones((40, 3))])
    assert mutual_information(*wide, samples=300) == pytest.approx(
        mutual_information(means, stddevs, samples=300), abs=0.05
    )


def test_blocks_hold_all_pairs(monkeypatch):
    given = posteriors(30, 3)
    whole = mutual_information(*given, samples=2, seed=4)
    assert mutual_information(*given, samples=2, seed=5) != whole
    monkeypatch.setattr(information, "NUMBERS_AT_ONCE", 30 * 7)
    assert mutual_information(*given, samples=2, seed=4) == pytest.approx(
        whole, abs=1e-12
    )  # one stream of noise, cut elsewhere


def test_without_a_deviation_it_is_the_entropy_of_the_codes():
    codes = np.array([[0.0, 1], [0, 1], [2, 1], [0, 3]])
    assert mutual_information(codes, np.zeros((4, 2))) == pytest.approx(1.5 * math.log(2))
    one = np.array([[0.0, 1]]).repeat(4, 0)
    assert mutual_information(codes, one) < mutual_information(codes, 1e-3 * one) == pytest.approx(1.5 * math.log(2))


def test_numbers_that_are_not_finite_give_none():
    means, stddevs = posteriors(5, 2)
    for bad in (math.nan, math.inf):
        broken = means.copy()
        broken[2, 1] = bad
        assert math.isnan(mutual_information(broken, stddevs)) and math.isnan(mutual_information(means, abs(broken)))


@pytest.mark.parametrize(
    ("means", "stddevs", "samples", "says"),
    [
        (np.zeros((3, 2)), np.ones((3, 1)), 1, r"\(3, 2\) and \(3, 1\)"),
        (np.zeros((0, 2)), np.ones((0, 2)), 1, "shapes"),
        (np.zeros((3, 2)), -np.ones((3, 2)), 1, "not their logarithms"),
        (np.zeros((3, 2)), np.ones((3, 2)), 0, "samples must be at least 1"),
    ],
)
def test_wrong_posteriors_are_refused_with_advice(means, stddevs, samples, says):
    with pytest.raises(InputError, match=says):
        mutual_information(means, stddevs, samples)
