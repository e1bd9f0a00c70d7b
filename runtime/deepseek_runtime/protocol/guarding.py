"""Loss calibration in the chief: what it sees of pushes goes through guard/, what comes of it goes into leases.

The chief alone judges, for it alone sees every worker's ranges; a lease carries what is plausible, so a worker can hold
an update back before anybody has it.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from deepseek_runtime.contract.config import Guard
from deepseek_runtime.contract.records import GuardState
from deepseek_runtime.guard.caution import Caution, Held
from deepseek_runtime.guard.ladder import Climb, Ladder
from deepseek_runtime.guard.plausible import Plausible
from deepseek_runtime.protocol.effects import Effect, Note, RollBack

MATERIAL: Final = 0.1
"""A loss that undoes less than a tenth of what training has won is let in, however unlikely it is."""
APART: Final = 0.7
"""Of a loss: never beyond within twice what is expected."""
UPDATE_APART: Final = 2.0
"""Of an update: never beyond within 7 times."""


class Guarding:
    """gradient: of `update.mode`; lowered: whether workers compute in less than float32."""

    def __init__(self, config: Guard, gradient: bool, lowered: bool, earlier: GuardState | None = None) -> None:
        self._on = config.mode != "off"
        self._acts = config.mode == "act"
        self._gradient = gradient
        self._lowered = lowered
        self._config = config
        ladder = Ladder(
            config.calm_ranges, config.slow_after, config.slow_factor, config.roll_back_after, config.max_roll_backs
        )
        self._climb = Climb(ladder)
        self._loss = Plausible(config.risk, config.warmup_ranges, material=MATERIAL, apart=APART)
        self._update = Plausible(config.risk, config.warmup_ranges, apart=UPDATE_APART, drifts=False)
        self._earlier = earlier or GuardState()
        self._held = self._earlier.held
        self._saved: tuple[dict[str, float], dict[str, float]] = (
            dict(self._earlier.saved_loss_memory),
            dict(self._earlier.saved_update_memory),
        )
        self._again: deque[int] = deque(maxlen=256)
        """Ranges that were given again with more precision; none twice."""

    def opened(self, restored: bool) -> None:
        """The term is open: restored from a checkpoint, or with the state that was there."""
        before = self._earlier
        loss, update = self._saved if restored else (before.loss_memory, before.update_memory)
        self._loss.recall(loss)
        self._update.recall(update)
        # A roll-back that was asked for and did not come, because another term came first, may be asked for again.
        step = "slow" if before.step == "back" and not restored else before.step
        self._climb.resume(step, before.learning_rate_factor, before.roll_backs, before.anomalies)

    # --- what leases carry

    @property
    def caution(self) -> Caution | None:
        if not self._acts:
            return None
        climb = self._climb
        lr = 1.0 if self._gradient else climb.lr
        return Caution(_finite(self._loss.limit), _finite(self._update.limit), lr, climb.precise)

    @property
    def slower(self) -> float:
        """`gradient`: w is smaller, so that all spans take the same smaller step, and AdamW the same part of one."""
        return self._climb.lr if self._gradient and self._acts else 1.0

    @property
    def calm(self) -> bool:
        """No checkpoint is made while it is not: it might hold what has to be undone."""
        return not self._acts or self._climb.step == "calm"

    # --- what comes of ranges

    def pushed(self, push: Mapping[str, Any]) -> list[Effect]:
        """A range is in."""
        loss, update = push.get("loss"), push.get("update")
        if not self._on or not isinstance(loss, float):
            return []
        limit = self._loss.limit
        verdict = self._loss.judge(loss)
        beyond = isinstance(update, float) and self._update.judge(update) == "beyond"
        why = f"range {push.get('g')}: loss {loss:.4g}, at most {limit:.4g} is plausible"
        if verdict == "drift":
            before, lr = self._climb.step, self._climb.lr
            self._climb.drift()
            text = f"losses about {loss:.4g} for some ranges, {self._loss.expected or 0.0:.4g} was expected"
            return self._acted(before, lr, text)
        if verdict == "beyond" or beyond:
            return self._beyond(
                why if verdict == "beyond" else f"range {push.get('g')}: an update of norm {update:.4g}"
            )
        if self._climb.fine():
            return [self._note("LossCalm", "losses are plausible again; all precautions have ended", False)]
        return []

    def held(self, g: int, held: Held, reason: str) -> tuple[bool, list[Effect]]:
        """A worker did not push what is implausible. Whether the range is to be trained again, with more precision;
        else it is to be skipped."""
        effects = self._beyond(f"range {g}: {reason}")
        if self._lowered and not held.precise and g not in self._again:
            self._again.append(g)
            return True, effects
        self._held += 1
        return False, effects

    def non_finite(self, g: int, reason: str) -> list[Effect]:
        """A range that stayed non-finite is skipped. It counts twice: when ten in a row have ended a job (skips.py) it
        is too late for a roll-back."""
        return self._beyond(f"range {g}: {reason}", 2) if self._acts else []

    @property
    def going_back(self) -> bool:
        """A roll-back is on its way: what cannot be trained until then is no reason to give up."""
        return self._climb.going_back

    def _beyond(self, why: str, counts: int = 1) -> list[Effect]:
        before, lr = self._climb.step, self._climb.lr
        if self._climb.beyond(counts):
            self._climb.accept()
            self._loss.begin_anew()
            self._update.begin_anew()
            text = f"{why}. This has gone on for too long to be a fault: losses are learnt anew from here"
            return [self._note("LossAccepted", text, True)]
        return self._acted(before, lr, why)

    def _acted(self, before: str, lr: float, why: str) -> list[Effect]:
        """Notes of the steps that were taken since `before`, and a learning rate times `lr`."""
        climb = self._climb
        effects: list[Effect] = []
        if before == "calm":
            effects.append(self._note("LossImplausible", why, True))
        if not self._acts:
            if climb.step == "back":
                climb.step = "slow"
            return effects
        if before == "calm":
            text = "float32 and values that are not rounded, until losses are plausible for a while"
            effects.append(self._note("PrecisionRaised", text, False))
        if climb.lr < lr:
            text = f"learning rate times {climb.lr:g}, until losses are plausible for a while"
            effects.append(self._note("StepShrunk", text, True))
        if climb.step == "back" and before != "back":
            climb.ask_back()
            text = f"{why}; roll-back {climb.backs} of at most {self._config.max_roll_backs}"
            effects += [self._note("RollBackWanted", text, True), RollBack(text)]
        return effects

    def _note(self, reason: str, text: str, warning: bool) -> Note:
        climb = self._climb
        fields = {
            "guard": climb.step,
            "lr_factor": climb.lr,
            "anomalies": climb.anomalies,
            "held": self._held,
            "loss_limit": _finite(self._loss.limit),
        }
        return Note(reason, text, warning, fields)

    # --- what people see, and what the next chief goes on with

    def checkpointed(self) -> None:
        """A checkpoint is being made of the present state."""
        self._saved = (self._loss.memory(), self._update.memory())

    @property
    def state(self) -> GuardState | None:
        if not self._on:
            return None
        climb, expected = self._climb, self._loss.expected
        return GuardState(
            step=climb.step,
            anomalies=climb.anomalies,
            learning_rate_factor=climb.lr if self._acts else 1.0,
            held=self._held,
            roll_backs=climb.backs,
            loss_expected=None if expected is None else float(f"{expected:.4g}"),
            loss_limit=_finite(self._loss.limit),
            loss_memory=self._loss.memory(),
            update_memory=self._update.memory(),
            saved_loss_memory=self._saved[0],
            saved_update_memory=self._saved[1],
        )


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
