"""A server under attack, as server.py runs one, which checks that its weights are what was pushed, to the last bit."""

import time
from collections import Counter

import numpy as np
import numpy.typing as npt

from bench._members import BenchServer
from deepseek_runtime.compression import codec_for
from deepseek_runtime.contract.config import JobConfig
from deepseek_runtime.contract.names import Member
from deepseek_runtime.contract.records import ServerSeat, TermRecord
from deepseek_runtime.protocol import encoding
from deepseek_runtime.protocol.chief import Chief
from deepseek_runtime.protocol.effects import Note
from deepseek_runtime.protocol.messages import Beat, Hello, Message, Push, Report
from deepseek_runtime.protocol.settings import settings_of
from deepseek_runtime.protocol.speakers import may_say
from deepseek_runtime.space import Space

F32 = npt.NDArray[np.float32]


class Attacked(BenchServer):
    """Server 0 of one, and its term's chief, whose store never answers. `refused`: what was not taken, by reason."""

    def __init__(self, keys: str, config: JobConfig, space: Space) -> None:
        super().__init__(0, keys, config)
        seat = ServerSeat(index=0, incarnation=0, address=self.address)
        self.record = TermRecord(number=1, servers=(seat,))
        self.space = space
        self.open(self.record, space)
        self.boss = Chief(self.record, settings_of(config))
        self.boss.start(time.monotonic())
        self.shadow = {index: np.zeros(span.theta.size, np.float32) for index, span in self.machine.spans.items()}
        compression = config.training.compression
        self.plain = {index: codec_for(space.spans[index].runs, compression, fast=False) for index in self.shadow}
        self.told: Counter[str] = Counter()
        self.applied = 0

    @property
    def refused(self) -> Counter[str]:
        return self.post.refused + self.told

    def step(self) -> None:
        for name, frame in self.post.receive(0.02):
            sender = Member.parse(name)
            try:
                message = encoding.decode(frame)
            except ValueError:
                self.told["message"] += 1
                continue
            if not may_say(sender.role, message):
                self.told["speaker"] += 1
                continue
            self.deliver(sender, message)
        self.carry_out(self.machine.on_tick(time.monotonic()))

    def deliver(self, sender: Member, message: Message) -> None:
        now = time.monotonic()
        if isinstance(message, Hello | Beat | Report):
            for effect in self.boss.on_message(sender, message, now):
                if isinstance(effect, Note):
                    self.told[effect.reason] += 1
            return
        before = {index: span.count for index, span in self.machine.spans.items()} if isinstance(message, Push) else {}
        effects = self.machine.on_message(sender, message, now)
        if isinstance(message, Push):
            for index, count in before.items():
                if self.machine.spans[index].count != count:
                    self.applied += 1
                    self.plain[index].add(message.parts[index], self.shadow[index], -message.w)
        effects = list(effects)
        for effect in effects:
            if isinstance(effect, Note):
                self.told[effect.reason] += 1
        self.carry_out(effects)

    def wrong(self) -> int:
        """Weights that are not what the pushes make of them, bit by bit."""
        spans = self.machine.spans
        pairs = [(spans[index].theta, shadow) for index, shadow in self.shadow.items()]
        return sum(int((theta.view(np.uint32) != shadow.view(np.uint32)).sum()) for theta, shadow in pairs)
