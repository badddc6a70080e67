from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import torch
from lightning.pytorch.loggers import WandbLogger

from vitm.color import tone_map
from vitm.training.callbacks import EpochBar, Previews
from vitm.training.callbacks.previews import preview


def test_preview_shows_four_panels():
    """SDR as it is, both HDR pictures tone-mapped, and the coldest colour of the map where nothing differs."""
    sdr = torch.rand(3, 40, 200)
    hdr = torch.rand(3, 40, 200) * 0.6
    picture = preview(sdr, hdr, hdr)
    assert picture.shape == (64, 800, 3)
    panels = np.split(picture[24:], 4, axis=1)
    np.testing.assert_array_equal(panels[0], (sdr * 255).round().permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(panels[1], panels[2])
    np.testing.assert_array_equal(panels[1], (tone_map(hdr) * 255).round().permute(1, 2, 0).numpy())
    cold = cv2.applyColorMap(np.zeros((1, 1), np.uint8), cv2.COLORMAP_TURBO)[0, 0, ::-1]
    assert (panels[3] == cold).all()


def test_large_frames_are_shown_smaller():
    """By the mean of what each pixel covers, as OpenCV's area resizing; the caption's mean is of all pixels."""
    sdr, hdr = torch.rand(3, 60, 400), torch.rand(3, 60, 400) * 0.6
    picture = preview(sdr, hdr, hdr, side=200)
    assert picture.shape == (30 + 24, 4 * 200, 3)
    half = cv2.resize(sdr.permute(1, 2, 0).numpy(), (200, 30), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(picture[24:, :200], half * 255, atol=0.51)
    assert preview(sdr, hdr, hdr, side=400).shape == preview(sdr, hdr, hdr).shape == (84, 1600, 3)


def test_pictures_are_logged_at_the_step_of_the_values(tmp_path, monkeypatch):
    logged = []
    logger = object.__new__(WandbLogger)
    monkeypatch.setattr(WandbLogger, "log_image", lambda _, *args, **options: logged.append((*args, options)))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_batches_that_stepped=9))
    trainer = SimpleNamespace(fit_loop=loop, loggers=[logger], is_global_zero=True, global_step=10)
    task = SimpleNamespace(preview=lambda batch, outputs: (*torch.rand(3, 3, 8, 16), "name"))
    Previews(tmp_path).on_test_batch_end(trainer, task, None, None, 0)
    ((key, (picture,), options),) = logged
    assert (key, options) == ("test/preview_0", {"step": 9, "caption": ["name"]})
    assert picture.shape == (32, 64, 3)


def test_an_endless_training_counts_its_epochs_without_a_last_one():
    bar = EpochBar()
    for last, text in ((-1, "Epoch 3"), (5, "Epoch 3/4")):
        bar._trainer = SimpleNamespace(max_epochs=last)
        assert bar._get_train_description(3).strip() == text
