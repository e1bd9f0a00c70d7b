"""Versions of the product and of the contracts between its parts."""

VERSION = "0.1.0"
CONFIG_VERSION = 1
"""Of the config document. A member refuses a newer major document with exit 78."""
PROTOCOL_VERSION = 1
"""Of the messages between members; carried in each hello."""
CHECKPOINT_VERSION = 1
"""Of index.json."""
