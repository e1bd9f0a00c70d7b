"""Loss calibration on a job that really trains in virtual time: held back, and rolled back by a real restore."""

from bench._loss_faults import Run, play


def test_wrong_labels_never_reach_a_server() -> None:
    guarded, plain = (play(Run("wrong labels", way, 3)) for way in ("act", "off"))
    assert guarded["skipped"] > 16
    assert guarded["LossImplausible"] >= 1
    assert guarded["right"] > plain["right"] + 36  # a tenth of the test set


def test_weights_that_a_spike_has_wrecked_come_back_from_a_checkpoint() -> None:
    guarded, plain = (play(Run("learning rate x 100", way, 1, "gradient")) for way in ("act", "off"))
    assert 1 <= guarded["back"] <= 2
    assert guarded["right"] > plain["right"]
