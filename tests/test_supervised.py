"""The ceiling: labels are learnt, by the encoder too, and a seed decides everything."""

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from crvae3d.datasets.clouds import Clouds
from crvae3d.errors import Diverged, InputError
from crvae3d.evaluation.frozen import frozen
from crvae3d.experiment.runs import without_decoder
from crvae3d.images.models import NVAEModel
from crvae3d.points.augment import Jitter
from crvae3d.points.models import PointModel
from crvae3d.training.settings import Training
from crvae3d.training.supervised import fit_supervised

SMALL = PointModel(code_size=8, encoder_widths=(16, 32), head_widths=(16,), output_points=36, decoder_width=16)


def boxes(shapes: int = 60) -> Clouds:
    """Boxes that are long along x, y or z: three classes."""
    draw = np.random.default_rng(0)
    labels = np.arange(shapes) % 3
    sides = np.where(np.arange(3) == labels[:, None], 1.0, 0.5)
    points = draw.uniform(-1, 1, (shapes, 64, 3)) * sides[:, None]
    return Clouds(points.astype(np.float32), np.array([f"{i}" for i in range(shapes)]), labels=labels)


def trained(seed: int = 0, epochs: int = 15, data: Clouds | None = None):
    model, told = SMALL.build(seed), []
    data = data or boxes()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training = Training(epochs=epochs, batch_size=16, points=64, learning_rate=1e-2, seed=seed)
    scores = fit_supervised(model, data, data.labels, Jitter(), training, lambda *each: told.append(each))
    return model, scores, told, before


def test_labels_are_learnt_and_the_encoder_with_them():
    model, scores, told, before = trained()
    data = boxes()
    with torch.inference_mode():
        named = scores(model.encoder(data.coordinates()).mean).argmax(1).numpy()
    assert (named == data.labels).mean() > 0.9
    assert [epoch for epoch, _ in told] == list(range(1, 16)) and told[-1][1] < told[0][1]
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert any(name.startswith("encoder.shared") for name in moved) and not model.training
    assert not any(name.startswith("decoder") for name in moved)


def test_the_walk_of_a_hierarchy_is_trained_with_its_encoder():
    model = NVAEModel(channels=1, height=8, width=8, ladder="2x2:1 4x4:1", base_channels=4, latents=2).build(0)
    before = {name: value.clone() for name, value in model.decoder.topdown.named_parameters()}
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    training = Training(epochs=1, batch_size=10)
    fit_supervised(model, Subset(images, range(20)), np.arange(20) % 2, lambda x, generator: x, training)
    assert any(not torch.equal(value, before[name]) for name, value in model.decoder.topdown.named_parameters())
    assert not model.decoder.topdown.training
    alone = without_decoder(model.train())
    with frozen(alone):
        torch.testing.assert_close(alone.encoder(images[:1]).mean, alone.encoder(images).mean[:1])


def test_a_shape_that_is_not_finite_stops_it():
    data = boxes()
    data.points[7] = np.nan
    with pytest.raises(InputError, match="32-true or bf16-mixed"):
        fit_supervised(None, [], np.zeros(1), Jitter(), Training(precision="16-mixed"))
    with pytest.raises(Diverged, match="data check"):
        trained(epochs=1, data=data)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    (first, *_), (again, *_), (other, *_) = trained(1, 1), trained(1, 1), trained(2, 1)
    assert torch.equal(torch.get_rng_state(), state)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(next(iter(first.parameters())), next(iter(other.parameters())))
