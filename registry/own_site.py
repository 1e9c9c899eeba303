"""What a node's own site record needs beside its settings and its server key: the next serial number."""

from typing import Final

SERIAL_MAX: Final = 0x7FFF  # deployed clients compare serial numbers as signed 16-bit integers


def next_serial(serial: int) -> int:
    """The serial number after this one; 1 follows the largest."""
    return serial + 1 if serial < SERIAL_MAX else 1
