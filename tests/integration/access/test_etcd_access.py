"""A job's certificate opens the job's own part of a real etcd and no other, also after etcd lost its data."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from pyetcd import etcdrpc

from builders.etcd import Watched
from builders.installed_etcd import InstalledEtcd
from deepseek_operator.etcd_access import EtcdAccess, GuardedMembership
from deepseek_operator.etcd_sweep import EtcdKeys
from deepseek_operator.executors.render.parts import Owner
from deepseek_runtime.contract.keys import JobKeys
from deepseek_runtime.contract.records import Registration, ServerSeat, TermRecord
from deepseek_runtime.membership import Membership, TlsFiles, Unavailable
from deepseek_runtime.membership.connection import Connection

INSTALL = "here"
ONE = Owner("digits", "team-a", "10000000-0000-4000-8000-000000000001")
TWO = Owner("digits", "team-b", "20000000-0000-4000-8000-000000000002")
TERM = TermRecord(number=1, servers=(ServerSeat(index=0, incarnation=0, address="tcp://a:1"),))


def keys_of(owner: Owner) -> JobKeys:
    return JobKeys.of(INSTALL, owner.namespace, owner.name, owner.uid)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[InstalledEtcd]:
    found = InstalledEtcd(tmp_path)
    yield found
    found.kill()


@pytest.fixture
def access(etcd: InstalledEtcd) -> Iterator[EtcdAccess]:
    assert etcd.tls is not None
    found = EtcdAccess([etcd.endpoint], etcd.tls, INSTALL)
    found.start()
    yield found
    found.close()


@pytest.fixture
def dial(etcd: InstalledEtcd) -> Iterator[Callable[[TlsFiles], Connection]]:
    opened: list[Connection] = []

    def connect(tls: TlsFiles) -> Connection:
        opened.append(Connection([etcd.endpoint], 2.0, tls))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(Unavailable) as raised:
        call()
    return str(raised.value)


def registered(member: Watched, emptied: int = 0) -> bool:
    return member.view().emptied == emptied and bool(member.view().registrations)


def raised(operator: Membership) -> bool:
    try:
        return operator.raise_term(TERM)
    except Unavailable:
        return False


def test_a_job_reads_and_writes_its_own_prefix_alone(etcd: InstalledEtcd, access: EtcdAccess, dial: Any) -> None:
    access.admit(ONE)
    access.admit(TWO)
    one, root = dial(etcd.client(ONE.uid)), dial(etcd.tls)
    own, others = keys_of(ONE), keys_of(TWO)
    assert one.put(own.term, b"1", lease=one.grant(10))[0]
    assert one.list(own.prefix).entries[0].value == b"1"
    root.put(others.term, b"2")
    secret = root.grant(60)
    root.put(others.state, b"2", lease=secret)
    # The last is a name that begins as ours does, and is no part of it.
    for prefix in (others.prefix, JobKeys.root(INSTALL), "/", own.prefix[:-1], own.prefix[:-1] + "0/"):
        assert "PERMISSION_DENIED" in refused(partial(one.list, prefix))
        assert "PERMISSION_DENIED" in refused(partial(one.delete_all, prefix))
        with one.watch(prefix, 1) as stream:
            assert "ended the watch" in refused(partial(list, stream))
    assert "PERMISSION_DENIED" in refused(lambda: one.put(others.term, b"3"))
    assert "PERMISSION_DENIED" in refused(lambda: one.put(own.state, b"3", read=others.term))
    assert "PERMISSION_DENIED" in refused(lambda: one.delete(others.term))
    assert "PERMISSION_DENIED" in refused(lambda: one.revoke(secret))
    assert {entry.value for entry in root.list(others.prefix).entries} == {b"2"}


def test_strangers_are_refused(etcd: InstalledEtcd, access: EtcdAccess, dial: Any, tmp_path: Path) -> None:
    access.admit(ONE)
    for name in ("20000000-0000-4000-8000-00000000000f", "etcd"):  # of the same authority, and not let in
        assert "PERMISSION_DENIED" in refused(partial(dial(etcd.client(name)).list, keys_of(ONE).prefix))
    assert etcd.tls is not None
    own = TlsFiles(etcd.tls.ca, tmp_path / "secrets" / "etcd.crt", tmp_path / "secrets" / "etcd.key")
    assert "PERMISSION_DENIED" in refused(lambda: dial(own).list(keys_of(ONE).prefix)), "etcd's own certificate"
    with grpc.secure_channel(
        etcd.endpoint, grpc.ssl_channel_credentials(etcd.authority.certificate)
    ) as nobody:  # with no certificate at all
        with pytest.raises(grpc.RpcError) as raised:
            etcdrpc.KVStub(nobody).Range(etcdrpc.RangeRequest(key=b"x"), timeout=2)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_nobody_gets_in_by_a_password(etcd: InstalledEtcd, access: EtcdAccess) -> None:
    access.admit(ONE)
    with grpc.secure_channel(etcd.endpoint, etcd.client(TWO.uid).credentials()) as channel:
        for name in ("root", ONE.uid):
            with pytest.raises(grpc.RpcError, match="no password user"):
                etcdrpc.AuthStub(channel).Authenticate(etcdrpc.AuthenticateRequest(name=name, password=""), timeout=2)


def test_what_is_half_done_is_completed_and_what_is_there_stays(etcd: InstalledEtcd, access: EtcdAccess) -> None:
    prefix = keys_of(ONE).prefix
    with grpc.secure_channel(etcd.endpoint, etcd.client("root").credentials()) as channel:
        auth = etcdrpc.AuthStub(channel)
        auth.UserAdd(etcdrpc.AuthUserAddRequest(name=ONE.uid, password="x"))
        auth.RoleAdd(etcdrpc.AuthRoleAddRequest(name=prefix))
        everything = etcdrpc.Permission(permType="READ", key=b"\0", range_end=b"\0")
        auth.RoleGrantPermission(etcdrpc.AuthRoleGrantPermissionRequest(name=prefix, perm=everything))
        access.admit(ONE)
        permissions = list(auth.RoleGet(etcdrpc.AuthRoleGetRequest(role=prefix)).perm)
        assert [permission.key for permission in permissions] == [prefix.encode()]
        access.admit(ONE)
        assert list(auth.UserGet(etcdrpc.AuthUserGetRequest(name=ONE.uid)).roles) == [prefix]


def test_an_emptied_etcd_is_closed_before_a_term_is_written(etcd: InstalledEtcd, access: EtcdAccess, dial: Any) -> None:
    news = threading.Event()
    assert etcd.tls is not None
    operator = GuardedMembership(
        [etcd.endpoint], keys_of(ONE), tls=etcd.tls, access=access, owner=ONE, on_change=news.set
    )
    members = [Watched([etcd.endpoint], keys_of(owner), tls=etcd.client(owner.uid)) for owner in (ONE, TWO)]
    try:
        operator.start()
        access.admit(TWO)
        for member in members:
            member.start()
            member.register("server", 0, Registration(address="tcp://a:1", incarnation=0))
            assert member.until(partial(registered, member))
        etcd.kill()
        etcd.start()
        stranger = dial(etcd.client("stranger"))
        # At once: nobody waits for the view that tells of the loss.
        assert members[0].until(partial(raised, operator))
        assert "PERMISSION_DENIED" in refused(lambda: stranger.list(keys_of(ONE).prefix))
        # Both come back, also the one for which nobody wrote a term.
        for member in members:
            assert member.until(partial(registered, member, emptied=1))
        assert members[0].until(lambda: members[0].view().term == TERM)
    finally:
        for one in (*members, operator):
            one.close()


def test_an_emptied_etcd_is_closed_although_no_term_is_due(etcd: InstalledEtcd, access: EtcdAccess, dial: Any) -> None:
    assert etcd.tls is not None
    seen = threading.Event()
    operator = GuardedMembership(
        [etcd.endpoint], keys_of(ONE), tls=etcd.tls, access=access, owner=ONE, on_change=seen.set
    )
    try:
        operator.start()
        operator.wait_listed(10.0)
        etcd.kill()
        etcd.start()
        member = Watched([etcd.endpoint], keys_of(ONE), tls=etcd.client(ONE.uid))
        stranger = Watched([etcd.endpoint], keys_of(ONE), tls=etcd.client("stranger"))
        try:
            stranger.start()

            def closed() -> bool:
                try:
                    stranger.read_term()
                except Unavailable as error:
                    return "PERMISSION_DENIED" in str(error)
                return False

            assert stranger.until(closed)
            member.start()
            member.wait_listed(10.0)
        finally:
            member.close()
            stranger.close()
    finally:
        operator.close()


def test_a_member_that_is_early_waits_until_it_is_let_in(etcd: InstalledEtcd, access: EtcdAccess) -> None:
    access.admit(TWO)
    early = Watched([etcd.endpoint], keys_of(ONE), tls=etcd.client(ONE.uid))
    try:
        early.start()
        early.register("worker", 0, Registration(incarnation=0))
        with pytest.raises(Unavailable):
            early.wait_listed(0.5)
        access.expect(ONE)
        assert early.until(lambda: bool(early.view().registrations))
    finally:
        early.close()


def test_others_do_not_notice_who_comes_and_goes(etcd: InstalledEtcd, access: EtcdAccess, dial: Any) -> None:
    """Each change of users makes etcd refuse what was under way with an older list of them."""
    access.admit(ONE)
    one, own = dial(etcd.client(ONE.uid)), keys_of(ONE)
    over = threading.Event()
    failures: list[Unavailable] = []

    def write() -> None:
        while not over.is_set():
            try:
                one.put(own.progress, b"1")
                one.list(own.prefix)
            except Unavailable as error:
                failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for number in range(15):
            owner = Owner("other", "team-b", f"30000000-0000-4000-8000-{number:012d}")
            access.admit(owner)
            access.forget(owner)
    finally:
        over.set()
        for writer in writers:
            writer.join(20.0)
    assert failures == []


def test_of_a_job_that_is_gone_nothing_is_left(etcd: InstalledEtcd, access: EtcdAccess, dial: Any) -> None:
    sweeper = EtcdKeys([etcd.endpoint], etcd.tls, INSTALL, access)
    try:
        for owner in (ONE, TWO):
            access.admit(owner)
        one = dial(etcd.client(ONE.uid))
        assert one.put(keys_of(ONE).state, b"1")[0]
        elsewhere = Owner("x", "team-c", "30000000-0000-4000-8000-000000000003")
        access.admit(elsewhere)
        assert sweeper.owners() == {ONE, TWO, elsewhere}
        assert sweeper.sweep(lambda: [TWO.uid], ["team-a", "team-b"]) == 1
        assert sweeper.owners() == {TWO, elsewhere}
        assert "PERMISSION_DENIED" in refused(lambda: one.list(keys_of(ONE).prefix))
        access.forget(ONE)  # again: it is gone already
        access.admit(TWO)
        assert ONE not in access.owners(), "nobody lets it in again"
    finally:
        sweeper.close()
