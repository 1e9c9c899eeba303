"""What tests of templates share: the base record of the manual's example and a template carried out on it."""

from collections.abc import Mapping, Sequence
from typing import Final

from protocol.value import HandleValue, ValueReference
from registry.namespaces.building import Builder, Name
from registry.namespaces.template import StoredTemplate, parse_template

URL: Final = HandleValue(index=1, type="URL", data=b"http://example.org/data/abc", timestamp=7, ttl=300)
EMAIL: Final = HandleValue(index=2, type="EMAIL", data=b"contact@example.org", timestamp=8)
BASE: Final = (URL, EMAIL)
V36: Final = r"""
<namespace><template delimiter="@">
  <foreach>
    <if value="type" test="equals" expression="URL">
      <if value="extension" test="matches" expression="box\(([^,]*),([^,]*),([^,]*),([^,]*)\)" parameter="x">
        <value data="${data}?wh=${x[4]}&amp;ww=${x[3]}&amp;wy=${x[2]}&amp;wx=${x[1]}" />
      </if>
      <else><value data="${data}?${x}" /></else>
    </if>
    <else><value /></else>
  </foreach>
</template></namespace>
"""
"""The template of vector V36."""


def stored(document: str, index: int = 10) -> StoredTemplate:
    """A template as a record holds it."""
    octets = document.encode()
    template = parse_template(octets)
    assert template is not None
    return StoredTemplate(template, HandleValue(index=index, type="HS_NAMESPACE", data=octets, timestamp=5))


def build(
    document: str,
    extension: str | bytes = "x",
    base: Sequence[HandleValue] = BASE,
    *,
    others: Mapping[str, str] | None = None,
    case_sensitive: bool = False,
) -> list[HandleValue]:
    """What a document makes of 1234/abc@extension; others: the documents that it may refer to."""
    octets = extension.encode() if isinstance(extension, str) else extension
    name = Name(handle=b"1234/abc@" + octets, base=b"1234/abc", extension=octets)
    builder = Builder(name, base, case_sensitive=case_sensitive)
    building = builder.build(stored(document))
    found: StoredTemplate | None = None
    started = False
    while True:
        try:
            wanted: ValueReference = building.send(found) if started else next(building)
        except StopIteration:
            return builder.values
        started = True
        other = (others or {}).get(str(wanted))
        found = None if other is None else stored(other, wanted.index)


def template(steps: str) -> str:
    """A namespace whose template has these steps."""
    return f'<namespace><template delimiter="@">{steps}</template></namespace>'
