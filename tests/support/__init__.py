"""What several kinds of tests need: databases, a Valkey, a world of nodes, hostile peers, strategies."""
