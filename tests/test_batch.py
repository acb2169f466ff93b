"""Batches of clouds: what becomes a tensor, and how."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import FixedPoints, RandomJitter

from crvae3d.errors import InputError
from crvae3d.points import augment
from crvae3d.points.batch import Ragged, dense, ragged
from crvae3d.points.normalize import NormalizeSphere


def test_every_form_of_a_batch_becomes_the_same_tensors():
    clouds = [torch.randn(4, 3), torch.randn(7, 3)]
    for form in (
        clouds,
        [cloud.numpy() for cloud in clouds],
        ragged(clouds),
        Batch.from_data_list([Data(pos=c) for c in clouds]),
    ):
        points, mask = dense(form)
        assert mask.sum(1).tolist() == [4, 7]
        assert torch.equal(points[0][mask[0]], clouds[0]) and torch.equal(points[1], clouds[1])
    points, mask = dense(Data(pos=clouds[0]))
    assert mask is None and torch.equal(points[0], clouds[0])
    points, mask = dense(clouds[0][None].numpy().astype(">f4"))
    assert mask is None and torch.equal(points[0], clouds[0])
    for wrong in (torch.randn(4, 3), torch.randn(2, 4, 2), [], [torch.randn(0, 3)], "cloud"):
        with pytest.raises(InputError):
            dense(wrong)


def test_clouds_of_several_types_lose_nothing_beside_each_other():
    exact, whole = torch.rand(5, 3, dtype=torch.float64), torch.randint(0, 9, (4, 3))
    for clouds in ([whole, exact, exact.float()], [exact, whole]):
        for points, mask, cloud in zip(*dense(clouds), clouds, strict=True):
            assert torch.equal(points[mask], cloud.double())


def test_whole_numbers_keep_their_digits():
    shape = torch.randint(0, 100, (1, 50, 3))
    far = NormalizeSphere()(shape + 637_012_345)
    torch.testing.assert_close(far, NormalizeSphere()(shape.double()))
    assert dense(shape.to(torch.int16))[0].dtype == torch.float32


def test_arrays_that_are_reversed_or_cannot_be_written_are_taken(recwarn):
    array = np.random.default_rng(0).random((2, 4, 3))
    assert torch.equal(dense(array[:, ::-1, ::-1])[0], torch.tensor(array).flip(1, 2))
    array.flags.writeable = False
    points, _ = dense(array)
    points += 1
    assert torch.equal(dense(list(array))[0] + 1, points) and not recwarn


def test_ragged_moves_between_devices():
    moved = Ragged(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool)).to(torch.device("meta"))
    assert isinstance(moved, Ragged) and moved.points.is_meta and moved.mask.is_meta
    half = Ragged(torch.zeros(1, 2, 3), torch.ones(1, 2, dtype=torch.bool)).to(torch.bfloat16, non_blocking=True)
    assert half.points.dtype == torch.bfloat16 and half.mask.dtype == torch.bool


def test_a_graph_of_one_point_keeps_the_labels_of_its_batch():
    graphs = [Data(pos=torch.randn(n, 3), y=torch.tensor([n]), normal=torch.randn(n, 3)) for n in (1, 9)]
    fewer = augment.Subset(4)(Batch.from_data_list(graphs))
    assert fewer.y.tolist() == [1, 9] and "normal" not in fewer and len(fewer.pos) == 5


def two_graphs(**more):
    clouds = torch.randn(40, 3), torch.randn(30, 3)
    return [Data(pos=cloud, normal=cloud.clone(), y=torch.tensor([3]), **more) for cloud in clouds]


@pytest.mark.parametrize("replace", [True, False])
def test_what_belongs_to_points_follows_them_through_transforms_of_pyg(replace):
    transform = augment.Compose([FixedPoints(40, replace=replace), augment.Jitter(0.0)])
    graph = two_graphs()[0]
    for chosen in (transform(graph), transform(Batch.from_data_list([graph, graph]))[1]):
        assert torch.equal(chosen.pos, chosen.normal) and not torch.equal(chosen.pos, graph.pos)
        assert chosen.y.tolist() == [3]
    assert torch.equal(graph.pos, graph.normal)
    thinned = augment.Compose([FixedPoints(20), augment.Subset(10)])(graph)
    assert len(thinned.pos) == 10 and "normal" not in thinned


def test_batches_keep_the_names_that_they_follow():
    batch = Batch.from_data_list(two_graphs(), follow_batch=["normal"])
    for transform in (augment.Rotate(), augment.Compose([RandomJitter(0.1)])):
        assert transform(batch).normal_batch.tolist() == batch.normal_batch.tolist()


def test_a_batch_that_was_made_by_hand_is_transformed_graph_by_graph():
    made = Batch.from_data_list(two_graphs())
    for hand in (Batch(pos=made.pos, batch=made.batch), Data(pos=made.pos, batch=made.batch, ptr=made.ptr)):
        for transform in (
            augment.Subset(35),
            augment.Compose([FixedPoints(35, replace=False, allow_duplicates=False)]),
        ):
            thinned = transform(hand)
            assert thinned.batch.bincount().tolist() == [35, 30]
            assert "ptr" not in thinned or thinned.ptr.tolist() == [0, 35, 65]


def test_points_of_mixed_graphs_are_refused():
    with pytest.raises(InputError, match="sort the points by it"):
        dense(Data(pos=torch.randn(4, 3), batch=torch.tensor([0, 1, 0, 1])))


def test_a_function_of_a_batch_stands_among_transformations():
    def mirror(x, generator=None):
        return x * torch.tensor([-1.0, 1.0, 1.0])

    both, x = augment.Compose([mirror, augment.Scale(2.0, 2.0)]), torch.randn(2, 5, 3)
    torch.testing.assert_close(both(x), 2 * mirror(x))
    torch.testing.assert_close(both(Data(pos=x[0])).pos, 2 * mirror(x[0]))
