"""Between the pure protocol and the world: what server.py and worker.py share. No torch.

process.py   identity, logs, signals, the exit record     outside.py  calls to store and etcd, off the loop
journal.py   pushes.jsonl and metrics.jsonl               parts.py    codec and rule of a span, from the config
progress.py  what the chief writes to etcd for people
"""
