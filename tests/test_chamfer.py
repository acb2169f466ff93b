"""The chamfer distance against its slow definition, in values and gradients, by every search there is."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crvae3d.errors import InputError
from crvae3d.points import chamfer as fast
from crvae3d.points.chamfer import chamfer_distance, nearest
from tests.references import chamfer, chamfer_matrix


@pytest.fixture(params=["in_chunks", "in_blocks"])
def search(request, monkeypatch):
    """Each search in turn; the one in blocks uncompiled, so that its arithmetic is tested without a compiler."""
    if request.param == "in_blocks":
        monkeypatch.setattr(fast, "COMPILE_FROM", 0)
        monkeypatch.setattr(fast, "can_compile", lambda: True)
        monkeypatch.setattr(fast, "_compiled", lambda: fast._search_in_blocks)
    return request.param


def test_worked_example():
    a = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    b = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 2, 0]]])
    assert chamfer_distance(a, b).item() == pytest.approx(0 + 4 / 3)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_equals_its_definition(n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(1, n, 3, generator=generator), torch.randn(1, m, 3, generator=generator)
    assert chamfer_distance(a, b).item() == pytest.approx(chamfer(a[0], b[0]).item(), rel=1e-5)


@pytest.mark.parametrize(("n", "m"), [(200, 130), (64, 64), (65, 257)])
def test_values_and_gradients_equal_those_of_the_whole_matrix(search, n, m):
    a, b = torch.randn(3, n, 3, requires_grad=True), torch.randn(3, m, 3, requires_grad=True)
    found, expected = chamfer_distance(a, b), chamfer_matrix(a, b)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)
    for mine, theirs in zip(*(torch.autograd.grad(x.sum(), (a, b)) for x in (found, expected)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_finds_the_neighbours_of_close_points_far_from_the_origin(search):
    """|a|^2 - 2ab + |b|^2 in single precision fails here."""
    points = torch.rand(2, 100, 3) * 1e-2 + 100
    query = points[:, torch.randperm(100)]
    found = points.gather(1, nearest(query, points)[..., None].expand(-1, -1, 3))
    assert torch.equal(found, query)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_what_fills_a_block_up_is_never_nearer_than_a_point(search, kind):
    query, far = torch.zeros(1, 1, 3, dtype=kind), torch.tensor([2e9, 9e9], dtype=kind).expand(1, 3, 2).mT
    assert nearest(query, far).item() == 0
    three, mask = torch.cat([far, far], dim=1).flip(1), torch.tensor([[True, False, False, True]])
    assert nearest(query, three, mask).item() == 3 and nearest(query, three, ~mask).item() == 1


def test_half_precision_and_whole_numbers_do_not_overflow(search):
    a, b = torch.rand(2, 30, 3), -torch.rand(2, 20, 3)
    expected = chamfer_distance(300 * a.half().double(), 300 * b.half().double())
    torch.testing.assert_close(chamfer_distance(300 * a.half(), 300 * b.half()).double(), expected, rtol=1e-2, atol=0)
    whole = chamfer_distance((9 * a).long(), (9 * b).long())
    torch.testing.assert_close(whole, chamfer_distance((9 * a).long().float(), (9 * b).long().float()))


def test_padding_is_no_point(search):
    a, b = torch.randn(2, 40, 3), torch.randn(2, 70, 3)
    mask_a, mask_b = torch.rand(2, 40) < 0.6, torch.rand(2, 70) < 0.6
    found = chamfer_distance(a, b, mask_a, mask_b)
    alone = [chamfer_distance(a[i][mask_a[i]][None], b[i][mask_b[i]][None]) for i in range(2)]
    torch.testing.assert_close(found, torch.cat(alone))
    hidden = torch.where(mask_a[..., None], a, torch.nan), torch.where(mask_b[..., None], b, torch.nan)
    torch.testing.assert_close(chamfer_distance(*hidden, mask_a, mask_b), found)


def test_shapes_in_a_batch_do_not_see_each_other(search):
    a, b = torch.randn(4, 30, 3), torch.randn(4, 50, 3)
    alone = torch.cat([chamfer_distance(a[i : i + 1], b[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(chamfer_distance(a, b), alone)


def test_moves_with_nothing_but_relative_position():
    a, b = torch.randn(2, 30, 3), torch.randn(2, 50, 3)
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    torch.testing.assert_close(
        chamfer_distance(a @ turn + 3, b @ turn + 3), chamfer_distance(a, b), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(chamfer_distance(a, b), chamfer_distance(b, a))
    torch.testing.assert_close(chamfer_distance(2 * a, 2 * b), 4 * chamfer_distance(a, b))
    assert (chamfer_distance(a, a[:, torch.randperm(30)]) == 0).all()


def test_non_finite_points_give_a_non_finite_distance_and_no_crash(search):
    a, b = torch.full((1, 70, 3), torch.nan), torch.randn(1, 70, 3)
    assert not chamfer_distance(a, b).isfinite().any()


@pytest.fixture
def compiler(monkeypatch):
    """The compiler may be tried, whatever the tests are run with."""
    monkeypatch.delenv("CRVAE3D_COMPILE", raising=False)
    fast.can_compile.cache_clear()
    yield
    fast.can_compile.cache_clear()


def test_compiled_search_finds_what_the_plain_one_finds(compiler, monkeypatch):
    if not fast.can_compile():
        pytest.skip("no C++ compiler here")
    query, points = torch.randn(3, 300, 3), torch.randn(3, 200, 3)
    monkeypatch.setattr(fast, "COMPILE_FROM", 0)
    monkeypatch.setattr(fast, "_failed_on", set())
    for pair in ((query, points), (points, query)):  # as a distance asks, there and back
        expected = fast._search_in_chunks(*pair)
        for mode in (nullcontext(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)):
            with mode:
                assert torch.equal(nearest(*pair), expected)
    assert not fast._failed_on  # else the plain one has answered
    compared = query.clone().requires_grad_()
    chamfer_distance(compared, points).sum().backward()
    monkeypatch.setattr(fast, "COMPILE_FROM", 2**62)
    plain = query.clone().requires_grad_()
    chamfer_distance(plain, points).sum().backward()
    assert torch.equal(compared.grad, plain.grad) and not fast._failed_on


def test_a_failing_compiler_is_replaced_silently(monkeypatch, capfd):
    def broken():
        raise RuntimeError("no compiler")

    monkeypatch.setattr(fast, "COMPILE_FROM", 0)
    monkeypatch.setattr(fast, "_compiled", lambda: lambda *_: broken())
    monkeypatch.setattr(fast, "can_compile", lambda: True)
    monkeypatch.setattr(fast, "_failed_on", set())
    a, b = torch.randn(1, 9, 3), torch.randn(1, 8, 3)
    torch.testing.assert_close(chamfer_distance(a, b).double(), chamfer_matrix(a, b), rtol=1e-5, atol=1e-6)
    assert capfd.readouterr() == ("", "") and fast._failed_on == {"cpu"}


def test_double_precision_is_exact_far_from_the_origin():
    a, b = torch.rand(2, 50, 3, dtype=torch.float64), torch.rand(2, 60, 3, dtype=torch.float64)
    torch.testing.assert_close(chamfer_distance(a + 5e6, b + 5e6), chamfer_distance(a, b), rtol=1e-6, atol=0)
    there = torch.arange(60).expand(2, -1) > 9  # padded in front, by nought
    far = torch.where(there[..., None], b + 5e6, 0)
    near = chamfer_distance(a, torch.where(there[..., None], b, 0), mask_b=there)
    torch.testing.assert_close(chamfer_distance(a + 5e6, far, mask_b=there), near, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (torch.rand(6, 5, 3), torch.rand(3, 5, 3), "pairs of clouds, got 6 and 3"),
        (torch.rand(5, 3), torch.rand(5, 3), "a tensor .batch, points, 3."),
        (torch.rand(2, 0, 3), torch.rand(2, 5, 3), "with a point or more, got .2, 0, 3."),
        (np.zeros((2, 5, 3)), torch.rand(2, 5, 3), "got ndarray"),
    ],
)
def test_what_are_no_pairs_of_clouds_is_explained(a, b, says):
    with pytest.raises(InputError, match=says):
        chamfer_distance(a, b)
