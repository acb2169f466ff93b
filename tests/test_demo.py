"""The demonstration, whole: minutes, so it is left to `make test-slow`."""

import pytest

from crvae3d.experiment.demo import demo


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
