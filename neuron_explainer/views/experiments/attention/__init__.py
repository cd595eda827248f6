"""The page of attention patterns: small ones, one large, without scripts."""
