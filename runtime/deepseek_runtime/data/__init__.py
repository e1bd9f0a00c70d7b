"""Batches of a map-style data set by their indices."""

from deepseek_runtime.data.loading import Collate, Loader, check_dataset, to_device

__all__ = ["Collate", "Loader", "check_dataset", "to_device"]
