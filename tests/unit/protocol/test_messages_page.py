"""docs/formats/messages.md lists each message's fields in the order in which they travel."""

import dataclasses
import re
from pathlib import Path
from typing import get_args

from deepseek_runtime.contract.names import Member
from deepseek_runtime.guard import caution
from deepseek_runtime.protocol import files, messages, neighbours, server_orders

PAGE = Path(__file__).parents[3] / "docs" / "formats" / "messages.md"
RECORDS = (
    messages.Lease,
    caution.Caution,
    caution.Held,
    messages.Version,
    messages.Update,
    server_orders.SpanState,
    neighbours.PushChange,
    neighbours.LastAnswer,
    Member,
    files.Source,
    files.FileRef,
)


def test_the_page_lists_the_fields_as_they_travel() -> None:
    kinds = [*get_args(messages.Message), *get_args(server_orders.OrderBody), *RECORDS]
    code = {kind.__name__: [field.name for field in dataclasses.fields(kind)] for kind in kinds}
    page = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        row = re.match(r"\| ([A-Z]\w+) \|(.*)\|$", line)
        if row is not None:
            cells = row.group(2).split("|")
            fields = next((cell for cell in cells if "`" in cell), "") if len(cells) > 1 else cells[0]
            page[row.group(1)] = re.findall(r"`(\w+)`", fields)
    assert page == code
