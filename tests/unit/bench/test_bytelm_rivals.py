"""What bench-bytelm measures against: synchronous training in plain PyTorch, and a byte-trigram table."""

import numpy as np
import pytest
import torch

from bench._synchronous import batches_in_order, plan_of, train
from bench._trigram import TrigramTable
from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Optimizer, Training
from deepseek_runtime.evaluation import evaluate_model
from deepseek_runtime.tasks.bytelm import BYTES, ByteLM
from deepseek_runtime.tasks.task import run_task


def test_synchronous_training_of_one_worker_is_a_session_alone() -> None:
    """The rival is no straw man: with one worker it trains what a session trains, batch for batch."""
    training = Training(
        steps=6,
        batch_size=4,
        seed=3,
        optimizer=Optimizer(lr=4e-3, schedule="cosine", warmup_steps=2, clip_norm=1.0),
    )
    task = ByteLM(layers=1, heads=2, width=16, context=32, eval_windows=8)
    outcome = train(task, training, workers=1, lr=4e-3, say=print)

    session = run_task(task, Alone(training))
    assert outcome.loss == pytest.approx(evaluate_model(session.model, task.evaluate)["loss"], abs=1e-5)


def test_three_workers_step_with_the_mean_of_their_batches() -> None:
    """Six batches are two steps: the same as a batch three times as large would do."""
    task = ByteLM(layers=1, heads=2, width=16, context=32, eval_windows=8)
    optimizer = Optimizer(lr=4e-3)
    three = Training(steps=6, batch_size=4, seed=3, optimizer=optimizer)
    one = Training(steps=2, batch_size=12, seed=3, optimizer=optimizer)
    outcomes = [train(task, training, workers, 4e-3, print) for training, workers in ((three, 3), (one, 1))]
    assert outcomes[0].loss == pytest.approx(outcomes[1].loss, abs=1e-5)


def test_batches_stand_in_the_order_of_their_ranges() -> None:
    training = Training(steps=20, batch_size=4)
    plan = plan_of(ByteLM(), training)
    batches = batches_in_order(plan)
    assert len(batches) == 20
    assert [list(batch) for batch in plan.batches(1)] == [list(batch) for batch in batches[8:16]]


def test_the_table_predicts_what_it_counted() -> None:
    """abcabc...: after ab always c; every row is a distribution, also of what was never seen."""
    windows = np.frombuffer(b"abcabcabcabc" * 50, np.uint8).reshape(-1, 12)
    table = TrigramTable(windows)
    ids = torch.tensor([list(b"abxy")])
    logits = table(ids)
    assert logits.shape == (1, 4, BYTES)
    assert torch.allclose(logits.exp().sum(-1), torch.ones(1, 4), atol=1e-5)
    assert [int(best) for best in logits[0, :2].argmax(-1)] == list(b"bc")
    assert float(logits[0, 1, ord("c")].exp()) > 0.99
    # ax was never seen, nor x: what is left is how often each byte was.
    assert float(logits[0, 2, ord("a")].exp()) == pytest.approx(float(logits[0, 3, ord("a")].exp()))
    assert 0.3 < float(logits[0, 2, ord("a")].exp()) < 0.34


def test_the_table_by_hand() -> None:
    """Witten and Bell on `aab`: p(b | aa) = (1 + p(b | a)) / 2, p(b | a) = (1 + 2 p(b)) / 4, p(b) = (1 + 2/256) / 5."""
    table = TrigramTable(np.frombuffer(b"aab", np.uint8)[None])
    single = (1 + 2 / BYTES) / 5
    after_one = (1 + 2 * single) / 4
    logits = table(torch.tensor([list(b"aa")]))
    assert float(logits[0, 0, ord("b")].exp()) == pytest.approx(after_one, rel=1e-5)
    assert float(logits[0, 1, ord("b")].exp()) == pytest.approx((1 + after_one) / 2, rel=1e-5)
