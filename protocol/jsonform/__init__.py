"""The JSON form of handles, values and sites, shared by both HTTP interfaces. Source: PROTOCOL.md §8.4, vector V34.

Objects are plain dicts; encoding them to text is the caller's. What comes in raises InvalidValue, naming the member.
"""

from protocol.jsonform.output import (
    Json,
    data_to_json,
    printable,
    record_to_json,
    site_reply,
    site_to_json,
    value_to_json,
)
from protocol.jsonform.site_input import site_from_json
from protocol.jsonform.value_input import data_from_json, value_from_json, values_from_json

__all__ = [
    "Json",
    "data_from_json",
    "data_to_json",
    "printable",
    "record_to_json",
    "site_from_json",
    "site_reply",
    "site_to_json",
    "value_from_json",
    "value_to_json",
    "values_from_json",
]
