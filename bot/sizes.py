"""Numbers as people say them."""


def size_text(size_bytes: int | None) -> str:
    """A number of bytes, such as "12.3 KiB"; empty for None."""
    if size_bytes is None:
        return ""
    if size_bytes < 1024:
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 999.95 or unit == "GiB":
            break
    return f"{size:.1f} {unit}"


def span_text(seconds: float) -> str:
    """A length of time, such as "12.3 s", "4 min", "2 days"; never negative."""
    seconds = max(seconds, 0.0)
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    for limit, divisor, unit in ((7200, 60, "min"), (172_800, 3600, "hours")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
