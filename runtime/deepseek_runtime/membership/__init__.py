"""The one etcd module, used by members and operator alike: what is there, one's own registration, fenced writes.

    membership = Membership(config.etcd, JobKeys.of(...), tls=TlsFiles.of(config.etcd_tls, secrets))
    membership.start()
    membership.register("server", 0, Registration(address=..., incarnation=3))
    view = membership.wait_listed(timeout=10.0)

tls.py           certificates, read anew for each connection
connection.py    unary calls, transactions, leases and the watch stream on a grpc channel
contents.py      View, and how it follows from keys, values and revisions (pure)
watching.py      one loop: list, watch from that revision, start again on any doubt
registering.py   the member's key under a lease, kept through whatever happens to etcd
job.py           Membership: the above together, and the fenced writes
access.py        users and roles; an administrator's alone, and not imported by members

Why the generated stubs of `pyetcd` (etcd-sdk-python) on grpc channels of ours, and not its client: one slow call marks
its endpoint as failed for 300 s; after an error it forgets its watcher, which goes on delivering beside the new one; a
clean end of its watch arrives as None; each lease refresh opens a stream and a thread; and nobody can hand it channel
options, so the reconnect after an outage follows grpc's back-off of up to 120 s. Fencing all that took more than KV,
Lease and Watch take here. The stubs also cost least at start: grpc 60 ms, protobuf and stubs 80 ms (2 cores).

What etcd must not be trusted with, and what is done about it:
- silence (paused, half-open connection): the watch stream is asked for its progress; unanswered, all starts again.
- another or emptied cluster under the same address: contents.another_history. A watch resumed there would stay deaf,
  so no watch is ever resumed: each begins at the revision of a listing made just before.
- its answers' fate: a write that timed out may have happened. All writes here can be repeated.
"""

from deepseek_runtime.membership.connection import Unavailable
from deepseek_runtime.membership.contents import View
from deepseek_runtime.membership.job import Membership
from deepseek_runtime.membership.tls import TlsError, TlsFiles

__all__ = ["Membership", "TlsError", "TlsFiles", "Unavailable", "View"]
