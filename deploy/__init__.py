"""How nodes are run: the `handlegrid` command and the deployment of a whole hierarchy on one machine."""

__all__: list[str] = []
