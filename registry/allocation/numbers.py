"""The next free number below a prefix, by a counter for each parent: one look, however many were given."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from protocol.handle import Prefix
from registry.allocation import tables
from registry.allocation.rules import NameRefused
from registry.allocation.terms import Terms, sentence
from registry.problem_types import ApiProblem
from registry.problem_types.allocation import PREFIX_NAME
from registry.transaction import Transaction

NUMBERS_AT_ONCE: Final = 256
"""Numbers asked about in one statement; the first is nearly always free."""


async def free_number(tx: Transaction, terms: Terms, parent: Prefix | None) -> Prefix:
    """The next number below a prefix that was never given; nobody is given it afterwards unless he names it.

    Who asks for the same parent waits until the transaction ends. Raises ApiProblem (422) when there is none.
    """
    start = await tables.begin_numbers(tx.connection, parent, 0)
    numbers = _numbers(terms, parent, start)
    while chunk := list(islice(numbers, 1 if start else NUMBERS_AT_ONCE)):
        start = 0
        prefixes = {number: _named(parent, number) for number in chunk}
        taken = await tables.taken(tx.connection, [prefix.key for prefix in prefixes.values()])
        for number, prefix in prefixes.items():
            if prefix.key not in taken:
                await tables.end_numbers(tx.connection, parent, number + 1)
                return prefix
    raise ApiProblem(PREFIX_NAME, "No number is free; name a label.")


def first_number(terms: Terms, parent: Prefix | None) -> Prefix:
    """The first number that could be given below a prefix. Raises ApiProblem (422) where none can."""
    for number in _numbers(terms, parent, 0):
        return _named(parent, number)
    raise ApiProblem(PREFIX_NAME, "No number is free; name a label.")


def _numbers(terms: Terms, parent: Prefix | None, start: int) -> Iterator[int]:
    try:
        yield from terms.names.numbers(parent, start)
    except NameRefused as error:
        raise ApiProblem(PREFIX_NAME, sentence(error)) from None


def _named(parent: Prefix | None, number: int) -> Prefix:
    return Prefix(f"{number}".encode() if parent is None else parent.octets + f".{number}".encode())
