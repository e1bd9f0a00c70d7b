"""What control plane and data plane agree on: plain pydantic, no torch, no numpy.

config.py      the document a member reads at start; nothing in it changes while the member lives
keys.py        the etcd keys of a job
records.py     the values under these keys, and what a member leaves behind when it exits
names.py       every name that both sides spell: API group, labels, members, environment
exit_codes.py  what a member's exit code means
version.py     versions of the above
"""
