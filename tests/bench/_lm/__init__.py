"""What `bench-accuracy-lm` trains with: several runs at once, as lanes of one batched model on one GPU.

A lane is one run: its seed, its learning rate, its server's rule. All lanes of a group see the same events at the same
virtual times, because workers' speeds are fixed, so their weights stand in one [lanes, parameters] tensor.

model.py      the byte-level GPT of all lanes, on the product's own parameter space
training.py   gradients and AdamW steps of all lanes, as CUDA graphs
sparse.py     Top-K of each chunk with two magnitudes in torch, and how many bytes the product's codec makes of it
servers.py    the servers' rules: linear, delayed Nesterov, AdamW with look-ahead
powersgd.py   the rival's compression
runs.py       synchronous, local and gradient runs in virtual time
data.py       which bytes each batch of each lane reads
"""
