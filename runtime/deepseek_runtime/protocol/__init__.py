"""The protocol as pure state machines: message in, messages out, time as an argument. docs/protocol.md is the contract.

messages.py  what members say to one another          effects.py  what a machine asks its edge to do
span.py      one span's weights, published copy, log   serving.py  a server: its spans, orders of the chief
ledger.py    which range is where                      chief.py    leases, and who is alive
opening.py   how a term opens                          saving.py   checkpoints
ending.py    the job's end, and drains                 orders.py   told until confirmed
pusher.py    the worker's side                         lineage.py  which checkpoint a term begins from
applied.py   a set of ranges                           term.py     who hosts which span

Sockets, disks, clocks and etcd are in server.py and worker.py; the simulator drives these machines in virtual time.
"""
