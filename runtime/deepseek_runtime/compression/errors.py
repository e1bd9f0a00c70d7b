"""What can be wrong with values and payloads."""


class NonFinite(ValueError):
    """The values to encode hold an infinity or a NaN: nothing is sent, and the residual given for writing is void.

    index: where; codec.py adds the sentence.
    """

    def __init__(self, index: int, message: str = "") -> None:
        super().__init__(message or f"element {index} is not finite")
        self.index = index


class PayloadError(ValueError):
    """The payload is no encoding of this span (cut short, damaged, of another model); the target is untouched."""
