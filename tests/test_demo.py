"""The demonstration: what it leaves alone; whole it takes minutes, so that is left to `make test-slow`."""

import pytest

from crvae3d.errors import InputError
from crvae3d.experiment import demo as demonstration
from crvae3d.experiment.demo import demo
from crvae3d.experiment.settings import Settings


def test_runs_of_other_settings_are_replaced_only_where_that_is_asked_for(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(demonstration, "train", lambda settings, out, **how: trained.append((out.name, how["resume"])))
    monkeypatch.setattr(demonstration, "evaluate_runs", lambda *_, **__: {})
    Settings.of("shapes", epochs=3).write(tmp_path / "CR-VAE")
    with pytest.raises(InputError, match="CR-VAE has other settings: replace it with --overwrite"):
        demo(tmp_path, epochs=2)
    assert not trained
    demo(tmp_path, epochs=3)
    demo(tmp_path, epochs=2, overwrite=True)
    assert trained == [("VAE", False), ("CR-VAE", True), ("VAE", False), ("CR-VAE", False)]


@pytest.mark.slow
def test_the_demo_ends_with_a_page_on_which_consistency_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))
    figures = demo(tmp_path / "demo", epochs=6, progress=False)
    assert (tmp_path / "demo" / "page.html").stat().st_size > 1e6
    for one in figures.values():
        assert one["alarms"] == [] and one["chamfer"] < 0.1
    assert figures["CR-VAE"]["consistency_gap_scale"] < figures["VAE"]["consistency_gap_scale"] / 3
    written = (tmp_path / "demo" / "VAE" / "weights.safetensors").stat().st_mtime_ns
    demo(tmp_path / "demo", epochs=6, progress=False)  # what is trained is not trained again
    assert (tmp_path / "demo" / "VAE" / "weights.safetensors").stat().st_mtime_ns == written
