"""POST /v1/births/search: find a birth by what identifies people, which may stand in no address and no log.

The body names one or more keys; all of them must fit. Scopes are those of GET /v1/births. A NIK of a mother is looked
up by its keyed hash (domain A.10), and so is her whole name; some of its words do where her day of birth is given too.
Below migration 0012 names are not looked for at all: nothing but reading every record would find them there.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from aiohttp import web
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from gateway.contract.lifecycle import State
from gateway.contract.masked import Personal
from gateway.contract.naming import normalise_name
from gateway.contract.record import BirthRecord, Parent
from gateway.contract.strict_json import Day, Moment, number, validated
from gateway.store import views
from gateway.store.views import Filter
from gateway.verify.likeness import name_key
from gateway.verify.nik import clean_nik
from gateway.web.auth import DATABASE, authenticated
from gateway.web.births import CONTEXT
from gateway.web.body import no_json, read_body, wrong_places
from gateway.web.problems import problem

if TYPE_CHECKING:
    from gateway.evidence.keys import Keyring
    from gateway.store.tokens import Identity

NAMES_LEVEL = 12  # schemas/sql/0012_search.sql
_BODY_BYTES = 16 * 1024
_KEYS = ("mother_nik", "mother_name", "mother_born_on", "child_nik", "mrn", "control_id", "certificate")
_STATES = [state.value for state in State]
_Text = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^\x00]+$")]


def _known(text: str) -> str:
    if text not in _STATES:
        raise ValueError("no such state; docs/lifecycle.md has them")
    return text


class Search(BaseModel):
    """What to look for. At least one key beside `facility`, `state`, `office` and `since`, which narrow it down."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"anyOf": [{"required": [k], "properties": {k: {"type": "string"}}} for k in _KEYS]},
    )

    mother_nik: _Text | None = Field(default=None, repr=False)
    mother_name: _Text | None = Field(default=None, repr=False)
    mother_born_on: Day | None = Field(default=None, repr=False)
    child_nik: _Text | None = Field(default=None, repr=False)
    mrn: _Text | None = Field(default=None, repr=False)
    control_id: _Text | None = None
    certificate: _Text | None = Field(default=None, repr=False)
    facility: _Text | None = None
    state: Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [*_STATES]})] | None = None
    office: _Text | None = None
    since: Moment | None = None
    cursor: _Text | None = None
    limit: Annotated[int, Field(ge=1, le=1000), BeforeValidator(number)] | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Search:
        if all(getattr(self, key) is None for key in _KEYS):
            raise ValueError(f"name at least one of {', '.join(_KEYS)}")
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError("`since` has no UTC offset")
        return self

    @property
    def by_name(self) -> bool:
        """Whether it needs the indexes of migration 0012."""
        return self.mother_name is not None or self.mother_born_on is not None

    def filter(self, identity: Identity | None, keyring: Keyring) -> Filter:
        """Return the wish within a reader's scope; None is the operator at the gateway's own machine."""
        scope: dict[str, Any] = {"restricted": True}
        if identity is not None:
            office = None if identity.office == "all" else identity.office
            scope = {"scope": identity.facility, "office_scope": office, "restricted": identity.restricted}
        return Filter(
            facility=self.facility,
            control_id=self.control_id,
            medical_record=self.mrn,
            state=self.state,
            office=self.office,
            since=self.since,
            mother_key=keyring.index(clean_nik(self.mother_nik)) if self.mother_nik else None,
            mother_name_key=named(self.mother_name, keyring)
            if self.mother_name and self.mother_born_on is None
            else None,
            mother_name=normalise_name(self.mother_name) if self.mother_name else None,
            mother_born_on=self.mother_born_on,
            child_nik=clean_nik(self.child_nik) if self.child_nik else None,
            certificate="".join(self.certificate.upper().split()) if self.certificate else None,
            **scope,
        )


def named(name: str, keyring: Keyring) -> bytes:
    """Return what the births of a mother of this name are kept under (pipeline.rejudge.keys_of)."""
    record: Any = BirthRecord
    letters = name_key(record.model_construct(mother=Parent(name=Personal(name))))
    return keyring.index(f"name\x1f{letters}")


def routes() -> list[web.RouteDef]:
    """Return the routes of this part."""
    return [web.post("/v1/births/search", authenticated(_search))]


async def _search(request: web.Request, identity: Identity) -> web.StreamResponse:
    if refusal := no_json(request):
        return refusal
    context = request.app[CONTEXT]
    raw = await read_body(request, context.config.limits, most=_BODY_BYTES)
    try:
        wish = validated(Search, raw)
    except ValidationError as error:
        return _malformed(error)
    if wish.by_name and context.schema_level < NAMES_LEVEL:
        detail = "mothers are found by name once the database is migrated (0012_search); search by NIK until then"
        return problem(HTTPStatus.NOT_IMPLEMENTED, detail, code="NOT_YET")
    most = context.config.limits.page_items
    try:
        items, following = await views.births(
            request.app[DATABASE],
            wish.filter(identity, context.keyring),
            cursor=wish.cursor,
            limit=min(wish.limit or most, most),
        )
    except ValueError as error:
        return problem(HTTPStatus.BAD_REQUEST, str(error), code="QUERY")
    return web.json_response({"items": items, "next": following})


def _malformed(error: ValidationError) -> web.Response:
    """Name each place that is wrong. Pydantic's words name what is expected and never what was sent."""
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "the search cannot be read; mend what `errors` names",
        code="UNPROCESSABLE",
        pesan="Pencarian tidak dapat dibaca; perbaiki yang disebut pada `errors`.",
        errors=wrong_places(error),
    )
