"""The recursive side: answers any client's question from its caches, or by asking the nodes that know."""

from resolver.node import RecursiveNode, ResolverAddresses
from resolver.settings import ResolverSettings, load_resolver_settings

__all__ = ["RecursiveNode", "ResolverAddresses", "ResolverSettings", "load_resolver_settings"]
