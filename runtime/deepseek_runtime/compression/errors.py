"""What can be wrong with values and payloads."""


class NonFinite(ValueError):
    """The values to encode hold an infinity or a NaN; nothing was written."""


class PayloadError(ValueError):
    """The payload is no encoding of this span (cut short, damaged, of another model); the target is untouched."""
