"""The protocol in virtual time: the real machines and the real plan(), on a simulated network, etcd and store.

    python -m simulator --seed 17 --trace        one random schedule, with what happened
    python -m simulator --seeds 1000             many of them

clock.py      virtual time, the seeded random numbers, the event log
network.py    links that lose what is under way when they are cut, and never reorder
etcd.py       etcd: killed, paused, emptied, cut off from one member
store.py      checkpoints: slow, full, silent, damaged; writes that land after their writer's end
tally.py      the job: d of range g is +1 at each sample's place in each row, so theta is minus what was counted
oracle.py     what must never happen
processes.py  a member: its loop, pauses, its end
servers.py    what server.py does around its machines
workers.py    what worker.py does around its machine, and a user's thread
operating.py  the operator: plan() and what an executor does
job.py        one job of all these
faults.py     what can go wrong, at a random time or at the n-th message of a kind
schedule.py   one seed: settings, faults, the run, the last checks
mutations/    each rule left out once
traces/       the traces of protocol.md
"""
