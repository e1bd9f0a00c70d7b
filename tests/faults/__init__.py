"""Faults that tests bring about."""

from faults.proxy import Proxy

__all__ = ["Proxy"]
