"""Open files of this process: every connection is one, and so are the database's and the logs'."""

from __future__ import annotations

from contextlib import suppress

try:
    import resource
except ImportError:  # not on Windows, which has no such limit
    resource = None  # type: ignore[assignment]

OTHER_FILES = 256  # databases, workers, logs, sockets on their way in


def allow_files(wanted: int) -> int:
    """Raise this process's soft limit of open files to `wanted`, as far as the hard limit lets it; return the limit.

    A connection is a file, and the usual soft limit is 1,024: without this the kernel would turn senders away long
    before our own cap does, and the database's connections with them.
    """
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):  # a system may have a ceiling of its own below the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return soft


def http_share(http: int, mllp: int) -> int:
    """Return how many HTTP connections there may be, so that MLLP's have their files whatever HTTP's do.

    Where the system allows enough, all of `http`; else HTTP has a quarter of what is left after the others' files:
    births come in by MLLP.
    """
    files = allow_files(http + mllp + OTHER_FILES)
    if files >= http + mllp + OTHER_FILES:
        return http
    return max(1, min(http, (files - OTHER_FILES) // 4))
