"""Amounts as Kubernetes writes them: `4Gi` of memory, `500m` of a CPU. Pure.

It is in the agent's image too, beside the agent's own modules.
"""

from __future__ import annotations

import re
from decimal import Decimal

_FACTORS = {
    **{"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}
_QUANTITY = re.compile(r"(?P<number>\d+\.?\d*(e[+-]?\d+)?|\.\d+)(?P<unit>[numkMGTPE]|[KMGTPE]i|)")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def parse_quantity(text: str) -> Decimal:
    """Return the number that a quantity stands for.

    Raises:
        ValueError: It is not a quantity of Kubernetes.
    """
    found = _QUANTITY.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a quantity such as 512Mi or 4Gi")
    return Decimal(found["number"]) * _FACTORS[found["unit"]]


def as_memory(size: int) -> str:
    """Return a number of bytes as a quantity, in the largest binary unit that makes it a whole number."""
    power = 0
    while size and size % 1024 == 0 and power + 1 < len(_BINARY):
        size, power = size // 1024, power + 1
    return f"{size}{_BINARY[power]}"
