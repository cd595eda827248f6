"""What a person notes about components: small files beside the cache, bookmarks, and their exchange."""
