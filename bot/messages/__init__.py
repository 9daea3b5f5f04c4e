"""What a turn came to, as messages: split, packed, bounded. Pure."""
