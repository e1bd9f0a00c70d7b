"""Properties of every plan: idempotent, bounded, and whatever is deleted comes back."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from builders.world import World
from deepseek_runtime.contract.names import Member, Role

ROLES = st.sampled_from(["server", "worker"])


class AnyHistory(RuleBasedStateMachine):
    """Faults, changes of mind and time in any order; after each the world settles: a further plan writes nothing."""

    @initialize(servers=st.integers(1, 3), workers=st.integers(1, 4))
    def begin(self, servers: int, workers: int) -> None:
        self.world = World(servers, workers, backoff_limit=8, every_steps=50, drain_bound=5.0)
        self.term = 0
        self.used: set[Member] = set()
        self.steps = 0

    @rule()
    def register(self) -> None:
        self.world.register()

    @rule()
    def open_term(self) -> None:
        if self.world.view.term is not None:
            self.world.open_term()

    @rule(step=st.integers(0, 60))
    def train(self, step: int) -> None:
        self.steps += step
        self.world.train(self.steps)

    @rule(role=ROLES, place=st.integers(0, 3), code=st.sampled_from([None, None, 0, 1]))
    def end(self, role: Role, place: int, code: int | None) -> None:
        living = [m for m in self.world.members.values() if m.alive and m.role == role]
        if living:
            self.world.end(role, living[place % len(living)].index, code)

    @rule(place=st.integers(0, 7))
    def vanish(self, place: int) -> None:
        if self.world.members:
            members = sorted(self.world.members)
            del self.world.members[members[place % len(members)]]

    @rule(seconds=st.sampled_from([0.5, 3.0, 100.0]))
    def later(self, seconds: float) -> None:
        self.world.later(seconds)

    @rule(what=st.sampled_from(["silent_etcd", "talking_etcd", "emptied_etcd"]))
    def etcd(self, what: str) -> None:
        getattr(self.world, what)()

    @rule(workers=st.integers(1, 5), servers=st.integers(1, 3))
    def scale(self, workers: int, servers: int) -> None:
        self.world.asks(workers=workers, servers=servers)

    @rule(suspend=st.booleans())
    def suspend(self, suspend: bool) -> None:
        self.world.asks(suspend=suspend)

    @rule(age=st.integers(0, 1))
    def roll_back(self, age: int) -> None:
        self.world.request(f"r{age}", "roll_back", max(0, self.world.status.term.number - age))

    @rule()
    def supervisor_dies_after_saving(self) -> None:
        self.world.status = self.world.plan().status

    @rule()
    def finish(self) -> None:
        if self.steps > 150 and self.world.view.term is not None:
            self.world.finish(self.world.view.term.number)

    @invariant()
    def settles(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        for _ in range(12):
            made = world.plan()
            if not made.writes(world.status):
                break
            for member in made.create:
                assert member not in self.used, "an incarnation's number was used twice"
                self.used.add(member)
                assert member.index < world.intent.desired(member.role)
            assert len({(m.role, m.index) for m in made.create}) == len(made.create)
            assert made.status.term.number >= self.term, "terms are only ever raised"
            self.term = made.status.term.number
            if made.term is not None:
                assert made.term.number == self.term
                assert [s.index for s in made.term.servers] == list(range(len(made.term.servers)))
            world.apply(made)
        else:
            raise AssertionError(f"does not settle: {made}")
        assert world.plan() == world.plan()
        if world.status.finished:
            assert world.status.exit_code is not None


AnyHistory.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyHistory = AnyHistory.TestCase


@settings(max_examples=25, deadline=None)
@given(servers=st.integers(1, 3), workers=st.integers(1, 4), data=st.data())
def test_deleting_any_child_leads_back(servers: int, workers: int, data: st.DataObject) -> None:
    world = World(servers, workers).running()
    victim = data.draw(st.sampled_from(sorted(world.members)))
    del world.members[victim]
    world.settle()
    world.register().settle()
    assert sorted((m.role, m.index) for m in world.members) == sorted(
        [("server", i) for i in range(servers)] + [("worker", i) for i in range(workers)]
    )
    named = {(s.index, s.incarnation) for s in world.status.term.servers}
    assert named == {(m.index, m.incarnation) for m in world.members.values() if m.role == "server"}
    assert world.status.restarts == 0
