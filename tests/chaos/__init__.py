"""Real jobs on this machine under seeded faults: the proof from outside that each sample counts exactly once.

faults.py  what can be done to a running job     run.py  one job of task `tally` under a list of faults
check.py   what must hold of it in the end
"""
