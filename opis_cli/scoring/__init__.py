"""From ``PairCounts`` to scores and a recommended threshold."""
