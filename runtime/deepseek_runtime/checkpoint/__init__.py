"""Checkpoints: spans as safetensors parts, an index that is written last, and where they are kept. No torch.

store.py     the interface of a store, its errors, and `open_store`
local.py     a folder                       remote.py   everything that fsspec reaches
tensors.py   the safetensors format
write.py     one file, streamed             read.py     one file, verified
index.py     index.json and base.json       choose.py   which checkpoint to load
writer.py    the thread that writes while the server trains
export.py    a checkpoint as one plain model.safetensors

The formats stand in docs/formats/checkpoint.md.
"""
