"""Training: it learns, it resumes bit for bit, it survives what is not finite."""

import csv
import json
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.utils.deterministic as deterministic
from torch.utils.data import DistributedSampler

import crvae3d
from crvae3d.core.consistency import Consistent
from crvae3d.core.objectives import ELBO
from crvae3d.datasets.clouds import Clouds, Resident
from crvae3d.device import best_device
from crvae3d.errors import Diverged, InputError
from crvae3d.experiment.pretrained import VAE
from crvae3d.experiment.tables import TRANSFORMS, Objective
from crvae3d.points.augment import Subset
from crvae3d.points.models import PointModel
from crvae3d.training import fit as fit_module
from crvae3d.training import module, recorded
from crvae3d.training import settings as training_settings
from crvae3d.training.fit import Passes, check_devices, fit
from crvae3d.training.module import seed_of
from crvae3d.training.schedule import warm_up_and_cosine
from crvae3d.training.settings import Training

SMALL = PointModel(code_size=8, encoder_widths=(16, 32), head_widths=(16,), output_points=36, decoder_width=16)


def clouds(shapes: int = 24, broken: tuple[int, ...] = ()) -> Clouds:
    """Boxes of random sides; the `broken` ones are not finite."""
    draw = np.random.default_rng(0)
    points = draw.uniform(-1, 1, (shapes, 100, 3)) * draw.uniform(0.2, 1, (shapes, 1, 3))
    points[list(broken)] = np.nan
    return Clouds(points.astype(np.float32), np.array([f"box_{i}" for i in range(shapes)]))


def train(folder, data=None, epochs=4, stop_after=None, resume=False, objective=None, norm="layer", **settings):
    model = VAE.build(replace(SMALL, norm=norm), seed=1)
    saves = []

    def save():
        model.save_pretrained(folder)
        saves.append(1)
        if len(saves) == stop_after:
            raise KeyboardInterrupt

    training = Training(epochs=epochs, batch_size=8, points=50, **settings)
    objective = objective or Objective(consistency=0.5, warm_up=0.5).build(lambda family: TRANSFORMS["scale"](50))
    data = clouds() if data is None else data
    fitted = fit(model, objective, data, clouds(6), Subset(50), training, folder, save, resume=resume, progress=False)
    return model, fitted


def rows(folder) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        timed = "seconds", "wait_share"
        return [{name: value for name, value in row.items() if name not in timed} for row in csv.DictReader(file)]


class Slow(Clouds):
    """Clouds from a slow disk."""

    def __getitems__(self, indices):
        time.sleep(0.3)
        return super().__getitems__(indices)


def test_says_what_share_of_the_time_waits_for_data(tmp_path):
    shares = []
    for kind in (Clouds, Slow):
        whole = clouds()
        train(tmp_path / kind.__name__, kind(whole.points, whole.ids), epochs=2)
        with (tmp_path / kind.__name__ / "metrics.csv").open() as file:
            shares.append([float(row["wait_share"]) for row in csv.DictReader(file)][-1])
    assert 0 < shares[0] < shares[1] < 1 and shares[1] > 0.5


def test_clouds_that_lie_on_the_device_train_to_the_same_weights(tmp_path):
    """On a GPU nothing else is different: the CPU takes the same path."""
    integers = (clouds().points * 32767).astype(np.int16)
    stored = Clouds(integers, clouds().ids, 1 / 32767)
    resident = Resident(stored, "cpu")
    assert torch.equal(resident.__getitems__([3, 5]), stored.coordinates([3, 5]))
    for name, data in (("stored", stored), ("resident", resident)):
        train(tmp_path / name, data, epochs=2)
    assert rows(tmp_path / "stored") == rows(tmp_path / "resident")


def test_learns(tmp_path):
    train(tmp_path, epochs=15, learning_rate=5e-3)
    found = rows(tmp_path)
    assert [int(row["epoch"]) for row in found] == list(range(1, 16))
    for part in ("train", "val"):
        assert float(found[-1][f"{part}_distortion"]) < 0.6 * float(found[0][f"{part}_distortion"])


def test_an_interrupted_and_resumed_run_gives_the_uninterrupted_ones_numbers_bit_for_bit(tmp_path):
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", stop_after=3)
    resumed, _ = train(tmp_path / "broken", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert rows(tmp_path / "whole") == rows(tmp_path / "broken")
    assert len(rows(tmp_path / "whole")) == 4


def test_the_same_seed_gives_the_same_numbers_and_another_gives_others(tmp_path):
    first, again, other = (
        train(tmp_path / name, epochs=2, seed=seed)[0] for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    weights = [model.encoder.head.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_plain_and_consistent_of_nothing_train_alike_bit_for_bit(tmp_path):
    plain, _ = train(tmp_path / "a", epochs=1, objective=lambda model, x, progress, generator: ELBO(0.1)(model, x))
    wrapped, _ = train(tmp_path / "b", epochs=1, objective=Consistent(ELBO(0.1), views=0))
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), wrapped.parameters(), strict=True))


def recorded_on_the_cpu(monkeypatch):
    """Have steps recorded and played, and count the played ones.

    A CUDA graph repeats what ran on the same memory; here the step runs again, and its numbers are copied there.
    """
    played = []

    def repeating(once):
        once()
        found, gradients = once(), [weight.grad for weight in once.__self__.weights]

        def play():
            again = once()
            made = [again[0], *again[1].values(), *(weight.grad for weight in once.__self__.weights)]
            for kept, new in zip([found[0], *found[1].values(), *gradients], made, strict=True):
                kept.data.copy_(new)
            played.append(1)
            return found

        return play

    monkeypatch.setattr(recorded, "on_cuda", repeating)
    monkeypatch.setattr(module, "can_record", lambda device: True)
    return played


@pytest.mark.parametrize("norm, played", [("layer", False), ("batch", False), ("batch", True)])
def test_a_non_finite_step_is_left_out_and_counted(tmp_path, monkeypatch, norm, played):
    if played:
        recorded_on_the_cpu(monkeypatch)
    model, fitted = train(tmp_path, data=clouds(broken=(5,)), norm=norm)
    assert fitted.skipped == 4  # the broken shape is in one batch of each of four epochs
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert float(rows(tmp_path)[-1]["skipped_steps"]) == 4 and np.isfinite(float(rows(tmp_path)[-1]["train_loss"]))


def test_a_loss_that_stays_non_finite_stops_the_run_and_says_why(tmp_path):
    with pytest.raises(Diverged, match="5 steps in a row.*--learning-rate"):
        train(tmp_path, data=clouds(broken=tuple(range(24))), patience=5)
    with pytest.raises(Diverged, match="not finite in 12 of the 12 steps"):
        train(tmp_path, data=clouds(broken=tuple(range(24))), patience=1000)


def test_patience_goes_on_where_a_run_was_stopped(tmp_path):
    broken = {"data": clouds(broken=tuple(range(24))), "patience": 10}  # of 12 steps
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, stop_after=2, **broken)
    with pytest.raises(Diverged, match="10 steps in a row"):
        train(tmp_path, resume=True, **broken)


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(InputError, match="nothing to resume"):
        train(tmp_path, resume=True)


def test_more_gpus_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_devices(1), check_devices(0)
    with pytest.raises(InputError, match="there are 1 GPUs, 2 were asked for; --devices 0 takes all"):
        check_devices(2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="cores, 9999 were asked for; --devices 1 computes with all of them"):
        check_devices(9999)


def test_an_epoch_of_few_shapes_has_each_once_before_any_again():
    for ranks in (1, 2):
        samplers = [Passes(range(50), 12, num_replicas=ranks, rank=rank, seed=3) for rank in range(ranks)]
        parts = [list(sampler) for sampler in samplers]
        order = [place for places in zip(*parts, strict=True) for place in places]
        passes = [order[start : start + 12] for start in range(0, 50, 12)]
        assert len(order) == 50 and set(order) == set(range(12)) and order != sorted(order)
        assert all(len({place % 12 for place in one}) == len(one) for one in passes)
        samplers[0].set_epoch(1)
        assert list(samplers[0]) != parts[0]


def test_no_seed_has_the_orders_of_another():
    orders = set()
    for seed in range(3):
        sampler = Passes(range(20), 20, num_replicas=1, rank=0, seed=seed)
        for epoch in range(5):
            sampler.set_epoch(epoch)
            orders.add(tuple(sampler))
    assert len(orders) == 15


def test_the_last_pass_of_an_epoch_which_is_a_part_of_one_has_others_each_time():
    sampler, seen = Passes(range(50), 30, num_replicas=1, rank=0, seed=3), np.zeros(30, int)
    for epoch in range(100):
        sampler.set_epoch(epoch)
        seen += np.bincount(np.array(list(sampler)) % 30, minlength=30)
    assert seen.sum() == 5000 and seen.min() > 100 + 40 and seen.max() < 100 + 93  # 67 of 100 on average


def test_an_epoch_of_all_shapes_is_shuffled_as_torch_does():
    alone = dict(num_replicas=1, rank=0)
    torchs = DistributedSampler(range(50), seed=module.seed_of(4, 0), **alone)
    assert list(Passes(range(50), 50, seed=4, **alone)) == list(torchs)


def test_mixed_precision_trains(tmp_path):
    _, fitted = train(tmp_path / "mixed", epochs=2, precision="bf16-mixed")
    train(tmp_path / "single", epochs=2)
    mixed, single = (float(rows(tmp_path / name)[-1]["train_loss"]) for name in ("mixed", "single"))
    assert fitted.skipped == 0 and (mixed != single) == training_settings.has_bf16(best_device())
    assert mixed == pytest.approx(single, rel=0.02)


def test_a_processor_without_bf16_trains_in_single_precision(tmp_path, monkeypatch):
    single, _ = train(tmp_path / "single", epochs=1)
    monkeypatch.setattr(training_settings, "has_bf16", lambda device: False)
    mixed, _ = train(tmp_path / "mixed", epochs=1, precision="bf16-mixed")
    assert all(torch.equal(a, b) for a, b in zip(single.parameters(), mixed.parameters(), strict=True))


@pytest.mark.parametrize(
    ("device", "kernels", "asked", "taken"),
    [
        ("cpu", True, "bf16-mixed", "bf16-mixed"),
        ("cpu", False, "bf16-mixed", "32-true"),
        ("cpu", True, "16-mixed", "bf16-mixed"),  # as Lightning does
        ("cpu", False, "16-mixed", "32-true"),
        ("cuda", False, "bf16-mixed", "32-true"),  # before Ampere
        ("cuda", False, "16-mixed", "16-mixed"),
        ("cpu", True, "32-true", "32-true"),
    ],
)
def test_half_precision_is_taken_where_a_device_has_kernels_for_it(monkeypatch, device, kernels, asked, taken):
    monkeypatch.setattr(training_settings, "has_bf16", lambda device: kernels)
    assert Training(precision=asked).precision_on(torch.device(device)) == taken


@pytest.mark.parametrize(
    "setting", [dict(epochs=0), dict(precision="bf16"), dict(learning_rate=-1.0), dict(train_size=0)]
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(InputError):
        Training(**setting)


def test_seeds_of_neighbouring_steps_have_nothing_in_common():
    seeds = {seed_of(run, step) for run in range(30) for step in range(30)}
    neighbours = [(seed_of(0, step), seed_of(0, step + 1)) for step in range(300)]
    assert len(seeds) == 900 and abs(np.corrcoef(neighbours, rowvar=False)[0, 1]) < 0.2


def test_weights_travel_and_settings_are_checked(tmp_path):
    model = VAE.build(SMALL, seed=2)
    model.save_pretrained(tmp_path)
    again, x = VAE.from_pretrained(tmp_path), torch.randn(2, 40, 3)
    assert torch.equal(model.eval().embed(x), again.embed(x)) and torch.equal(
        model.reconstruct(x), again.reconstruct(x)
    )
    assert not any(file.suffix in (".pt", ".pkl", ".ckpt") for file in tmp_path.iterdir())
    settings = tmp_path / "settings.json"
    settings.write_text(settings.read_text().replace("decoder_width", "decoder_witdh"))
    with pytest.raises(InputError, match="did you mean 'decoder_width'"):
        VAE.from_pretrained(tmp_path)
    settings.write_text(settings.read_text().replace("decoder_witdh", "decoder_width").replace(": 8", ": 9"))
    with pytest.raises(InputError, match="do not fit"):
        VAE.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="no model in"):
        VAE.from_pretrained(tmp_path / "nowhere")


def test_a_model_of_ones_own_parts_cannot_be_found_again_and_says_so(tmp_path):
    made = VAE.build(SMALL)
    for own in (VAE(made.encoder, made.decoder, made.prior), SMALL.build()):
        for call in (crvae3d.embed, lambda model, data: crvae3d.reconstruct(model, data, tmp_path / "out")):
            with pytest.raises(InputError, match="has no settings to be found again by"):
                call(own, "shapes")
    with pytest.raises(InputError, match="has no settings to be found again by"):
        VAE(made.encoder, made.decoder, made.prior).save_pretrained(tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_batch_norm_of_one_shape_a_batch_is_refused(tmp_path):
    settings = crvae3d.Settings.of("shapes", preset="tiny", norm="batch", batch_size=1, epochs=1, contrast=0, points=64)
    with pytest.raises(InputError, match="set batch-size to 2 or more, or another norm"):
        crvae3d.train(settings, tmp_path / "one", progress=False)


def test_a_model_of_before_there_were_neighbourhoods_has_none(tmp_path):
    model = VAE.build(replace(SMALL, neighbourhoods=0), seed=2)
    model.save_pretrained(tmp_path)
    settings = tmp_path / "settings.json"
    told = json.loads(settings.read_text())
    del told["model"]["neighbourhoods"]
    settings.write_text(json.dumps(told))
    x = torch.randn(2, 40, 3)
    assert torch.equal(VAE.from_pretrained(tmp_path).embed(x), model.eval().embed(x))


def test_weights_that_an_encoder_shares_with_itself_travel(tmp_path):
    def tie(model: VAE) -> VAE:
        model.encoder.again = model.encoder.head
        return model

    tie(VAE.build(SMALL)).save_pretrained(tmp_path)
    weights = safetensors.torch.load_file(tmp_path / "weights.safetensors")
    assert torch.equal(weights["encoder.again.weight"], weights["encoder.head.weight"])
    tie(VAE.build(SMALL, seed=1)).load_state_dict(weights)


def test_one_thread_and_two_agree_to_rounding(tmp_path):
    """Sums over threads differ in the last digits; the random numbers are the same."""
    threads, weights = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            weights.append(train(tmp_path / str(count), epochs=2)[0].encoder.head.weight)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-4)


OWN = {"contrast_transform": "stretch", "views": 2}


@pytest.mark.parametrize(
    "transform, precision, contrast",
    [
        ("scale", "32-true", {}),  # compares the views themselves
        ("scale", "32-true", {"contrast": 0.0}),
        ("scale", "32-true", OWN),
        ("mixed", "32-true", OWN),
        ("scale", "bf16-mixed", OWN),
    ],
)
def test_steps_played_from_a_recording_train_to_the_same_weights(tmp_path, monkeypatch, transform, precision, contrast):
    options = Objective(consistency=0.5, warm_up=0.5, transform=transform, **contrast)
    objective = options.build(lambda family: TRANSFORMS[family](50))
    plain, _ = train(tmp_path / "plain", objective=objective, precision=precision)
    played = recorded_on_the_cpu(monkeypatch)
    again, _ = train(tmp_path / "recorded", objective=objective, precision=precision)
    assert len(played) == 12 if transform == "scale" else 0 < len(played) < 12  # views of other sizes are not played
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    for one, other in zip(rows(tmp_path / "plain"), rows(tmp_path / "recorded"), strict=True):
        assert {name: float(value) for name, value in one.items()} == pytest.approx(
            {name: float(value) for name, value in other.items()}, rel=1e-3
        )


def test_what_cannot_be_recorded_trains_as_ever_and_says_so(tmp_path, monkeypatch):
    def refuses(once):
        once()
        raise RuntimeError("operation not permitted when stream is capturing")

    plain, _ = train(tmp_path / "plain")
    monkeypatch.setattr(recorded, "on_cuda", refuses)
    monkeypatch.setattr(module, "can_record", lambda device: True)
    with pytest.warns(UserWarning, match="not recorded as a CUDA graph.*not permitted"):
        again, _ = train(tmp_path / "refused")
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), again.parameters(), strict=True))


def test_what_follows_a_training_is_as_free_as_what_came_before(tmp_path, monkeypatch):
    made = fit_module._trainer

    def on_a_gpu(*arguments):
        trainer = made(*arguments)
        torch.use_deterministic_algorithms(True, warn_only=True)  # as Lightning does there
        return trainer

    monkeypatch.setattr(fit_module, "_trainer", on_a_gpu)
    filled = []

    def objective(model, x, progress, generator):
        filled.append(deterministic.fill_uninitialized_memory)
        return ELBO(0.1)(model, x)

    train(tmp_path, epochs=1, objective=objective)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not any(filled) and deterministic.fill_uninitialized_memory


def test_steps_are_recorded_on_a_gpu_unless_it_is_turned_off(monkeypatch):
    assert recorded.can_record(torch.device("cuda")) and not recorded.can_record(torch.device("cpu"))
    monkeypatch.setenv("CRVAE3D_CUDA_GRAPH", "0")
    assert not recorded.can_record(torch.device("cuda"))


def test_an_epoch_without_a_finite_loss_has_no_means():
    means = module.RunningMeans()
    means.add({"loss": torch.tensor(torch.nan), "rate": torch.tensor(1.0)}, 8)
    assert means.take() == {}
    for loss, rate in ((2.0, 1.0), (torch.inf, 9.0), (5.0, 4.0)):
        means.add({"loss": torch.tensor(loss), "rate": torch.tensor(rate)}, 8)
    assert means.take() == {"loss": 3.5, "rate": 2.5}


def test_the_means_of_several_devices_are_those_of_all_their_shapes():
    """Also where one of them has no finite loss: it asks for the same totals as the others."""
    mine, other = module.RunningMeans(), module.RunningMeans()
    mine.add({"loss": torch.tensor(torch.nan), "rate": torch.tensor(1.0)}, 8)
    other.add({"loss": torch.tensor(2.0), "rate": torch.tensor(3.0)}, 8)
    totals = iter([*other.sums.values(), other.shapes])
    assert mine.take(lambda total: total + next(totals)) == {"loss": 2.0, "rate": 3.0} and next(totals, None) is None


def test_what_a_refused_recording_began_is_waited_for(monkeypatch):
    class Stream:
        def __init__(self, name="side"):
            self.name = name

        def wait_stream(self, other):
            told.append(f"{self.name} waits for {other.name}")

    def refused():
        if len(told) > 1:
            raise RuntimeError("a synchronizing operation")
        told.append("a step")

    told, main = [], Stream("main")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: main)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(recorded, "_asking_nothing", nullcontext)
    with pytest.raises(RuntimeError, match="synchronizing"):
        recorded.on_cuda(refused)
    assert told == ["side waits for main", "a step", "main waits for side"]


def test_a_recording_makes_its_own_weights_in_half_precision():
    """Else a graph would play those of the step before it for ever."""
    weight = torch.nn.Linear(4, 1)
    x, losses = torch.ones(8, 4), []

    def run(x):
        loss = weight(x).float().sum()
        with torch.autocast("cpu", enabled=False):
            loss.backward()
        return loss.detach(), {}

    def record(once):
        once()
        with torch.no_grad():
            weight.weight.fill_(2), weight.bias.fill_(0)
        losses.append(float(once()[0]))
        return once

    with torch.autocast("cpu", torch.bfloat16, cache_enabled=True):
        weight(x)
        recorded.Recorded(run, weight, (x,), record)
    assert losses == [64]


def drawn_in_each_step(folder, seed=0, epochs=2, resume=False, stop_after=None):
    """What the generator of points and views, and torch's global one, would draw at each step of a training."""
    drawn = []

    class Listens(Subset):
        def warp(self, points, mask, generator):
            drawn.append(tuple(torch.rand(4, generator=generator).tolist()))
            return super().warp(points, mask, generator)

    def objective(model, x, progress, generator):
        drawn[-1] += tuple(torch.rand(4).tolist())
        return ELBO(0.1)(model, x)

    def save():
        if stop_after and len(drawn) >= stop_after:
            raise KeyboardInterrupt

    training = Training(epochs=epochs, batch_size=8, points=50, seed=seed)
    data = clouds(), None, Listens(50), training, folder, save
    try:
        fit(VAE.build(SMALL), objective, *data, resume=resume, progress=False)
    except KeyboardInterrupt:
        assert stop_after
    return drawn


def test_each_step_draws_by_its_own_seed_which_a_resumed_run_goes_on_with(tmp_path):
    whole, other = drawn_in_each_step(tmp_path / "a"), drawn_in_each_step(tmp_path / "b", seed=1)
    numbers = [number for step in (*whole, *other) for number in step]
    assert (
        len(whole) == len(other) == 6 and len(set(numbers)) == 2 * 6 * 8
    )  # no two alike, in no epoch and with no seed
    begun = drawn_in_each_step(tmp_path / "c", stop_after=6)  # in the second epoch, of which no checkpoint is left
    assert begun == whole and drawn_in_each_step(tmp_path / "c", resume=True) == whole[3:]


def test_each_step_has_its_rate_its_clipped_gradient_and_its_decay(tmp_path):
    """A loss of one weight whose gradient is 5 at every step, and a network that nothing but its decay moves."""
    model, found = VAE.build(SMALL), []

    def objective(model, x, progress, generator):
        optimizer = optimizers[0]
        found.append((optimizer.param_groups[0]["lr"], float(still.detach()[0])))
        loss = 5 * model.decoder.log_scale + 0 * still.sum()
        return replace(ELBO(0.1)(model, x), per_shape=loss.expand(8))

    still, optimizers, norms = model.encoder.head.weight.view(-1), [], []
    configure, clip = module.Fitted.configure_optimizers, torch.nn.utils.clip_grads_with_norm_

    def listening(self):
        made = configure(self)
        optimizers.append(made["optimizer"])
        return made

    def clipped(weights, most, norm):
        clip(weights, most, norm)
        norms.append(float(torch.nn.utils.get_total_norm([weight.grad for weight in weights])))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Fitted, "configure_optimizers", listening)
        patch.setattr(torch.nn.utils, "clip_grads_with_norm_", clipped)
        training = Training(epochs=2, batch_size=8, points=50, clip=1e-3, learning_rate=0.1, weight_decay=0.5)
        fit(model, objective, clouds(), None, Subset(50), training, tmp_path, lambda: None, progress=False)
    rates = [0.1 * warm_up_and_cosine(6)(step) for step in range(6)]
    assert [rate for rate, _ in found] == pytest.approx(rates) and max(norms) <= 1e-3 + 1e-9 and len(norms) == 6
    expected = [found[0][1]]
    for rate in rates[:-1]:
        expected.append(expected[-1] * (1 - rate * 0.5))
    assert [weight for _, weight in found] == pytest.approx(expected, rel=1e-5)


def test_the_last_epoch_is_kept_and_not_the_best_one(tmp_path):
    """The validation loss falls and rises again, since the training is told to run away from it."""

    def objective(model, x, progress, generator):
        terms = ELBO(0.1)(model, x)
        return terms if not model.training or progress < 0.5 else replace(terms, per_shape=-terms.per_shape)

    model, _ = train(tmp_path, epochs=4, objective=objective, learning_rate=1e-2)
    losses = [float(row["val_loss"]) for row in rows(tmp_path)]
    assert losses[-1] > min(losses)
    kept = safetensors.torch.load_file(tmp_path / "weights.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())


def test_codes_are_drawn_apart_from_views(tmp_path):
    """A normal number that is made of the uniform ones that drew the points would tell of them."""
    drawn = {}

    class Listens(Subset):
        def warp(self, points, mask, generator):
            drawn["views"] = torch.rand(64, generator=generator)
            return super().warp(points, mask, generator)

    def objective(model, x, progress, generator):
        drawn["codes"] = torch.rand(64)
        return ELBO(0.1)(model, x)

    training = Training(epochs=1, batch_size=8, points=50)
    fit(VAE.build(SMALL), objective, clouds(), clouds(6), Listens(50), training, tmp_path, lambda: None, progress=False)
    assert not set(drawn["views"].tolist()) & set(drawn["codes"].tolist())


def test_a_recording_suits_inputs_of_its_own_shapes_and_types_alone():
    weight = torch.nn.Linear(2, 1)

    def run(x, views):
        loss = (weight(x) + sum(weight(view) for view in views)).sum()
        loss.backward()
        return loss.detach(), {}

    x = torch.ones(3, 2)
    made = recorded.Recorded(run, weight, (x, [x]), lambda once: (once(), once)[1])
    assert made.suits((2 * x, [x])) and not made.suits((x, [])) and not made.suits((x, [x[:2]]))
    assert not made.suits((x, [x.double()]))
    with pytest.warns(UserWarning, match="not recorded"):
        assert recorded.recorded(run, weight, (x, None)) is None
