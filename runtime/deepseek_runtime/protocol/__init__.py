"""The protocol as pure state machines: message in, messages out, time as an argument. docs/protocol.md is the contract.

messages.py   what members say to one another         server_orders.py  of it, a chief and its servers
files.py      what they name of the store             effects.py    what a machine asks its edge to do
encoding.py   messages as frames                      settings.py   what a chief needs of the job's config

A server
serving.py    its spans, its chief's orders           span.py       one span's weights, published copy, log
receiving.py  initial weights                         reporting.py  what was applied, until acknowledged
applied.py    a set of ranges                         term.py       who hosts which span

The chief
chief.py      one term, from its opening to its end   opening.py    how a term opens
leasing.py    who gets which range                    ledger.py     which range is where
skips.py      when nothing finite is left             workers.py    who has said hello, who is alive
tickets.py    evaluation, moments                     orders.py     told until confirmed
saving.py     checkpoints                             lineage.py    which checkpoint a term begins from
ending.py     the job's end, and drains               tracking.py   what people see

A worker
pusher.py     its life, and what comes next           worker_lease.py  granted, claimed, given up
pulling.py    its published copy                      pushing.py       its residual, its unanswered push
outbox.py     reports, until acknowledged             offering.py      initial weights

Sockets, disks, clocks and etcd are in server.py and worker.py; the simulator drives these machines in virtual time.
"""
