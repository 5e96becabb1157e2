"""Personal values that cannot be printed by accident.

A `Personal` is a `str` whose every printed form is masked: `repr`, `str`, f-strings, `%s`, renderers that call them.
Code that must write the value out (HL7 to the hospital, the registry's payload) says so with `reveal()`.
Storage formats made from the characters themselves (JSON, asyncpg) keep the value; `gateway.observe` therefore masks
instances again by type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

MASK = "•••"


class Personal(str):
    """A text about a person: a name, an address, a number that identifies somebody."""

    __slots__ = ()

    def reveal(self) -> str:
        """Return the plain text. Each call is a decision to show a person's data."""
        return str.__str__(self)

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __format__(self, spec: str, /) -> str:
        return MASK

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls._of,
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(
                _revealed, return_schema=core_schema.str_schema()
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(core_schema.str_schema())

    @classmethod
    def _of(cls, value: str) -> Self:
        return cls(str.__str__(value))


def _revealed(value: str) -> str:
    return str.__str__(value)


class Nik(Personal):
    """A Nomor Induk Kependudukan as it came, checked or not (domain B.1)."""

    __slots__ = ()
