"""Real jobs whose members stand in network namespaces of this machine: bytes can be counted there, and links made slow.

network.py    a bridge and a namespace a host: addresses, interface counters, shaped links
relay.py      etcd, which listens on this machine's own 127.0.0.1, on the 127.0.0.1 of each namespace
jobs.py       a job by the local executor, each member in its namespace
ranks.py      the rivals' processes in the same namespaces, and what they print
ddp.py        their program: DDP over gloo, with PowerSGD where asked
waiting.py    tasks whose batches wait for a fixed time instead of computing
"""
