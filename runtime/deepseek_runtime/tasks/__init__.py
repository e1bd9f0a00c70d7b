"""Tasks: a model, its loss and its data as one class, named in a manifest as `module:Class`.

task.py      what a task is, how it is found and looped over
digits.py    handwritten digits, a small CNN with BatchNorm
bytelm.py    a byte-level GPT on the sources of one Python package
tally.py     counts how often each sample was trained: the proof of exactly-once
"""
