"""HS_SITE and its relatives: the data are a site record, whose codec is protocol.site."""

from typing import Final

from protocol.site import Site

HS_SITE: Final = "HS_SITE"
HS_SITE_6: Final = "HS_SITE.6"
HS_SITE_PREFIX: Final = "HS_SITE.PREFIX"
HS_NA_DELEGATE: Final = "HS_NA_DELEGATE"  # the older spelling of HS_SITE.PREFIX

SITE_TYPES: Final = (HS_SITE, HS_SITE_6)
"""Who serves the handles below a prefix."""
PREFIX_SITE_TYPES: Final = (HS_SITE_PREFIX, HS_NA_DELEGATE)
"""Who serves the prefix records below a prefix."""

__all__ = [
    "HS_NA_DELEGATE",
    "HS_SITE",
    "HS_SITE_6",
    "HS_SITE_PREFIX",
    "PREFIX_SITE_TYPES",
    "SITE_TYPES",
    "Site",
]
