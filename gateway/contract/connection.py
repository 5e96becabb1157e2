"""What a connection tells of its sender, beside the bytes that came over it."""

from __future__ import annotations


class TlsNames(frozenset[str]):
    """The names of the certificate that a sender on TLS showed; empty where it showed none.

    A plain connection has a frozenset that is empty: nobody was asked there.
    """

    __slots__ = ()
