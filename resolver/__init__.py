"""The recursive side: answers any client's question from its caches, or by asking the nodes that know."""

from resolver.daemon import RecursiveNode
from resolver.settings import ResolverSettings, load_resolver_settings

__all__ = ["RecursiveNode", "ResolverSettings", "load_resolver_settings"]
