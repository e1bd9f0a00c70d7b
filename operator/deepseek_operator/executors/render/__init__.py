"""What belongs to a job in a cluster, as manifests. Pure: a job, a member and settings in, dicts out.

settings.py   what an installation says about all jobs
parts.py      whose they are, what they are called, how they are labelled
pods.py       a member's pod; place.py: where it may run; folders.py: what it sees under which path
config.py     the config document as an immutable ConfigMap
code.py       the user's code as an immutable ConfigMap
storage.py    where checkpoints go, and what that asks of pods
network.py    who may talk to whom
budgets.py    how many servers may be evicted at once

The user's part of a pod is an allow-list (api/pods.py) laid under ours: what is ours wins. Every pod meets the
Pod Security standard `restricted`.
"""
