"""Kernels as an admin sees them, with everything that doesn't matter filled in."""

from datetime import UTC, datetime, timedelta
from typing import Any

from interpreter.inspection import KernelInfo


def kernel_info(now: datetime | None = None, **given: Any) -> KernelInfo:
    """An idle kernel that is three hours old and was used five minutes ago."""
    now = now or datetime.now(UTC)
    filled: dict[str, Any] = {
        "user_id": "42",
        "kernel_id": "00112233aabbccdd",
        "pid": 4711,
        "state": "idle",
        "started_at": now - timedelta(hours=3),
        "last_active_at": now - timedelta(minutes=5),
        "cells": 7,
        "memory_bytes": 300 << 20,
        "cpu_s": 12.0,
        "cpu_percent": 0.4,
    }
    return KernelInfo(**{**filled, **given})
