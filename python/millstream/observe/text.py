"""Numbers as people read them.

Owns the formats of bytes, counts and durations. Knows nothing of runs.
"""

from __future__ import annotations


def bytes_text(count: float) -> str:
    """Bytes in binary units: `"33.2 GiB"`, `"512 B"`."""
    if count < _STEP:
        return f"{int(count)} B"
    for unit in _UNITS:
        count /= _STEP
        if count < _STEP - 0.05 or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}"


def count_text(count: float) -> str:
    """A whole number with separators: `"1,234,567"`."""
    return f"{int(count):,}"


def clock_text(seconds: float) -> str:
    """A duration as a clock shows it: `"01:40"`, `"2:03:04"`."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes:02}:{whole % 60:02}"


def span_text(seconds: float) -> str:
    """A duration with its unit: `"31 ms"`, `"1.35 s"`, `"12:40 min"`."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _CLOCK_FROM_S:
        return f"{seconds:.3g} s"
    return f"{clock_text(seconds)} {'h' if seconds >= 3600 else 'min'}"


def rate_text(rate: float) -> str:
    """A rate in three significant digits: `"3.71"`, `"12,300"`."""
    if rate >= 1000:
        return f"{float(f'{rate:.3g}'):,.0f}"
    return f"{rate:.3g}" if rate >= 100 else f"{rate:.2f}" if rate < 10 else f"{rate:.1f}"


def amount_text(name: str, amount: float) -> str:
    """An amount of a resource without needless zeros: `"0.5 CPU"`, `"2 GPU"`, `"8 GiB memory"`."""
    return f"{number_text(name, amount)} {name}"


def number_text(name: str, amount: float) -> str:
    """The same without the name."""
    if name == "memory":
        return bytes_text(amount)
    return f"{amount:.4f}".rstrip("0").rstrip(".")


def share_text(share: float) -> str:
    """A share of a whole: `"41%"`, `"0.6%"`."""
    return f"{share:.0%}" if share >= 0.01 or share <= 0 else f"{share:.1%}"


def plural(count: int, noun: str) -> str:
    """A count with its noun: `"1 task"`, `"3 tasks"`."""
    return f"{count_text(count)} {noun}{'' if count == 1 else 's'}"


def bar_text(share: float, width: int) -> str:
    """A bar of `width` characters, filled in eighths of a character: `"███▍      "`."""
    eighths = int(max(0.0, min(1.0, share)) * width * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[part] if part else "")).ljust(width)


_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_EIGHTHS = " ▏▎▍▌▋▊▉"
#: From here on, minutes read better than seconds.
_CLOCK_FROM_S = 100
