"""The public HTTP interface of a registry node: records as JSON."""
