"""HS_SITE, HS_SERV and their relatives: which values of a record say who serves a prefix.

The data of the site types are a site record, whose codec is protocol.site; those of the others name a service handle,
whose record holds the sites. Source: PROTOCOL.md §1.4, §1.5.
"""

from typing import Final

HOME_SITE_TYPES: Final = ("HS_SITE", "HS_SITE.6")
HOME_SERVICE_TYPES: Final = ("HS_SERV",)
HOME_TYPES: Final = HOME_SITE_TYPES + HOME_SERVICE_TYPES
"""Who holds the handles of a prefix; also the values of a service handle."""

BELOW_SITE_TYPES: Final = ("HS_SITE.PREFIX", "HS_NA_DELEGATE")
BELOW_SERVICE_TYPES: Final = ("HS_SERV.PREFIX",)
BELOW_TYPES: Final = BELOW_SITE_TYPES + BELOW_SERVICE_TYPES
"""Who holds the prefix records below a prefix."""

SITE_TYPES: Final = HOME_SITE_TYPES + BELOW_SITE_TYPES
SERVICE_TYPES: Final = HOME_SERVICE_TYPES + BELOW_SERVICE_TYPES
