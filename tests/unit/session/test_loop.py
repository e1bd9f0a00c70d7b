"""The loop around a session: accumulation, what is wrong with it, leaving and coming back, evaluation."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

import deepseek_runtime
from builders.nets import loss_of, mixed_net, sequences, train
from deepseek_runtime.alone import Alone
from deepseek_runtime.contract.config import Evaluation, Optimizer, Training, Update
from deepseek_runtime.session import Session, SessionError, feed_of_job, join


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.05)


def session_alone(steps: int = 4, batch_size: int = 8) -> Session:
    model = mixed_net()
    return join(model, sgd(model), sequences(64), steps=steps, batch_size=batch_size)


def test_join_is_the_package_s_own() -> None:
    assert deepseek_runtime.join is join


def test_epochs_is_every_sample_once_an_epoch() -> None:
    model = mixed_net()
    data = torch.utils.data.TensorDataset(torch.arange(50))
    session = join(model, sgd(model), data, batch_size=7, epochs=3)
    seen = []
    for (ids,) in session:
        seen.append(ids)
        session.backward(sum((p.sum() for p in model.parameters() if p.requires_grad), torch.zeros(())))
        session.step()
    assert session.steps == len(seen) == 3 * 7  # the 50th sample joins the batch before it
    assert np.array_equal(np.bincount(torch.cat(seen).numpy()), np.full(50, 3))
    assert session.finished


def test_two_backwards_are_accumulation() -> None:
    weights = []
    for parts in (1, 2):
        torch.manual_seed(0)
        model = nn.Linear(6, 24)
        session = join(model, sgd(model), sequences(64), steps=4, batch_size=8)
        for ids, labels in session:
            for piece, answer in zip(ids.chunk(parts), labels.chunk(parts), strict=True):
                session.backward(nn.functional.cross_entropy(model(piece.float()), answer) / parts)
            assert session.step()
        weights.append(model.weight.detach().clone())
    torch.testing.assert_close(weights[0], weights[1])


def test_a_batch_that_was_not_stepped_is_an_error_with_a_hint() -> None:
    session = session_alone()
    with pytest.raises(SessionError, match=r"session\.step\(\).*optimizer\.step\(\)"):
        only_backward(session)


def only_backward(session: Session) -> None:
    for batch in session:
        session.backward(loss_of(session.model, batch))


def test_step_needs_a_backward() -> None:
    session = session_alone()
    with pytest.raises(SessionError, match="backward"):
        only_step(session)


def only_step(session: Session) -> None:
    for _ in session:
        session.step()


def test_backward_needs_one_number() -> None:
    session = session_alone()
    with pytest.raises(SessionError, match=r"one element, got shape \(8, 24\)"):
        backward_of_logits(session)


def backward_of_logits(session: Session) -> None:
    for ids, _ in session:
        session.backward(session.model(ids))


def test_backward_outside_the_loop() -> None:
    with pytest.raises(SessionError, match="for batch in session"):
        session_alone().backward(torch.zeros(()))


def test_a_second_loop_goes_on_where_the_first_was_left() -> None:
    session = session_alone(steps=5)
    steps = []
    for turns in (2, 9):
        for batch in session:
            steps.append(session.global_step)
            session.backward(loss_of(session.model, batch))
            session.step()
            turns -= 1
            if not turns:
                break
    assert steps == [0, 1, 2, 3, 4]


def test_the_step_of_a_batch_is_the_same_after_it_was_stepped() -> None:
    session = session_alone(steps=5)
    with pytest.raises(SessionError, match="for batch in session"):
        session.global_step  # noqa: B018
    for step, batch in enumerate(session):
        session.backward(loss_of(session.model, batch))
        assert session.global_step == step
        session.step()
        assert session.global_step == step


def test_leaving_the_loop_ends_autocast() -> None:
    model = mixed_net()
    feed = Alone(Training.model_validate({"steps": 4, "optimizer": None, "precision": {"compute": "bfloat16"}}))
    with feed_of_job(feed):
        for _ in join(model, sgd(model), sequences(64)):
            assert torch.is_autocast_enabled("cpu")
            break
    assert not torch.is_autocast_enabled("cpu")


def test_join_twice_in_a_job() -> None:
    model = mixed_net()
    with feed_of_job(Alone(Training(steps=1))) as seat:
        session = join(model, sgd(model), sequences(64))
        assert seat.session is session
        with pytest.raises(SessionError, match="twice"):
            join(model, sgd(model), sequences(64))


def test_the_manifest_wins_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = mixed_net()
    with feed_of_job(Alone(Training(steps=3, batch_size=4, seed=7))):
        session = join(model, sgd(model), sequences(64), batch_size=16, epochs=2, seed=7)
    assert (session.plan.batch_size, session.steps, session.plan.seed) == (4, 3, 7)
    said = [record.getMessage() for record in caplog.records if "manifest" in record.getMessage()]
    assert len(said) == 2
    assert "batch_size=16" in said[0]
    assert "epochs=2" in said[1]


def test_random_states_follow_from_seed_and_range() -> None:
    draws: list[list[float]] = []
    for disturb in (False, True):
        model = mixed_net()
        drawn: list[float] = []
        feed = Alone(Training(steps=4, batch_size=8, seed=3, optimizer=None, update=Update(local_steps=2)))
        with feed_of_job(feed):
            session = join(model, sgd(model), sequences(64))
            for batch in session:
                drawn += [float(torch.rand(())), float(np.random.rand())]
                session.backward(loss_of(model, batch))
                if disturb and session.global_step % 2 == 1:
                    torch.rand(5)
                session.step()
        draws.append(drawn)
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == 8


def test_evaluation_is_in_eval_mode_and_leaves_the_modes_as_they_were() -> None:
    model = mixed_net()
    model.norm.eval()
    seen: list[tuple[bool, bool, bool]] = []

    def evaluate(given: nn.Module) -> Mapping[str, float]:
        assert given is model
        seen.append((model.training, model.norm.training, torch.is_grad_enabled()))
        return {"score": torch.tensor(0.5), "size": 3}  # type: ignore[dict-item]

    feed = Alone(Training(steps=10, batch_size=8, optimizer=None, evaluation=Evaluation(every_steps=4)))
    with feed_of_job(feed):
        session = join(model, sgd(model), sequences(64), evaluate=evaluate)
        for batch in session:
            assert model.training
            assert not model.norm.training
            session.backward(loss_of(model, batch))
            session.step()
    assert seen == [(False, False, False)] * 2
    assert feed.metrics == [(8, {"score": 0.5, "size": 3.0}), (10, {"score": 0.5, "size": 3.0})]


@pytest.mark.parametrize("answer", [0.5, {"score": "high"}])
def test_evaluate_must_return_names_and_numbers(answer: object) -> None:
    model = mixed_net()
    session = join(model, sgd(model), sequences(64), steps=1, evaluate=lambda _: answer)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match=r"\{name: number\}"):
        train(session)


def test_clipping_is_torch_s() -> None:
    ours, theirs = mixed_net(), mixed_net()
    feed = Alone(Training(steps=1, batch_size=8, optimizer=Optimizer(clip_norm=0.05)))
    batches = []
    with feed_of_job(feed):
        session = join(ours, sgd(ours), sequences(64))
        for batch in session:
            batches.append(batch)
            session.backward(loss_of(ours, batch))
            session.step()
    optimizer = sgd(theirs)
    loss_of(theirs, batches[0]).backward()  # type: ignore[no-untyped-call]
    assert float(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)) > 0.1
    optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_gradient_mode_is_torch_s_nesterov() -> None:
    """One worker's delayed Nesterov rule is SGD with Nesterov's momentum: mu m + g, each step."""
    ours, theirs = mixed_net(), mixed_net()
    training = Training(
        steps=20, batch_size=8, optimizer=Optimizer(name="sgd", lr=0.05), update=Update(mode="gradient", momentum=0.9)
    )
    batches = []
    with feed_of_job(Alone(training)):
        session = join(ours, None, sequences(64))
        for batch in session:
            batches.append(batch)
            session.backward(loss_of(ours, batch))
            session.step()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for batch in batches:
        optimizer.zero_grad()
        loss_of(theirs, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for (key, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=key)


def test_gradient_mode_with_adamw_is_torch_s_adamw() -> None:
    """One worker's pushes are whole steps, and there is nobody to look ahead of."""
    ours, theirs = mixed_net(), mixed_net()
    optimizer = Optimizer(name="adamw", lr=0.01, betas=(0.8, 0.95), weight_decay=0.1)
    training = Training(steps=20, batch_size=8, optimizer=optimizer, update=Update(mode="gradient"))
    batches = []
    with feed_of_job(Alone(training)):
        session = join(ours, None, sequences(64))
        for batch in session:
            batches.append(batch)
            session.backward(loss_of(ours, batch))
            session.step()
    theirs_optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.8, 0.95), weight_decay=0.1)
    for batch in batches:
        theirs_optimizer.zero_grad()
        loss_of(theirs, batch).backward()  # type: ignore[no-untyped-call]
        theirs_optimizer.step()
    for (key, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=key)
