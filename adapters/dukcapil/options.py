"""`registry.options` as this adapter reads them: what only Dukcapil knows, each checked, a wrong one named."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contract.ports import RegistrySettings

# Sent as TRESHOLD (sic, domain 0.12): below it the service itself says "Tidak Sesuai".
SERVICE_THRESHOLD = 80
FULL_SCORE = 100
# Element: the first part of its option `..._threshold`, and the least score that agrees.
_THRESHOLDS = {
    "NAMA_LGKP": ("name", 95),
    "TGL_LHR": ("date", 100),
    "JENIS_KLMIN": ("sex", 100),
    "NO_KK": ("kk", 100),
    "STATUS_KAWIN": ("marital", 100),
}


@dataclass(frozen=True, slots=True)
class Options:
    """`registry.options`: settings that only this adapter knows."""

    check_url: str  # default: registry.url
    institution: str  # path part of the element check; default: registry.office
    thresholds: Mapping[str, int]  # by element: below its score an element does not agree (domain F 91)
    lower_case_keys: bool  # deployments differ in the case they want (domain 0.13)
    login_pause_s: float  # how long to wait before looking whether a person mended a refused login
    cache_s: float  # how long an agreement is believed without asking again
    acts: frozenset[str]  # what the office takes beside submissions: the last parts of the paths of domain C.4
    married: str  # the register's word for "married"; empty: the agreement does not grant STATUS_KAWIN
    look_up: str  # path of the look-up by NIK; empty: the agreement with Dukcapil does not grant it
    look_up_fills: str  # what of the full record may fill a gap: the family card alone, or the place of birth too
    audience: str = ""  # `aud` that a callback must bear; empty: registry.office where it bears one
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def read_options(settings: RegistrySettings) -> Options:
    """Read the options. Raises ConfigError naming the one that is wrong or not known."""
    given = dict(settings.options)
    thresholds = {
        element: int(_number(given, f"{key}_threshold", default=default, low=SERVICE_THRESHOLD, high=FULL_SCORE))
        for element, (key, default) in _THRESHOLDS.items()
    }
    options = Options(
        check_url=given.pop("check_url", "") or settings.url,
        institution=given.pop("institution", "") or settings.office,
        thresholds=thresholds,
        lower_case_keys=_choice(given, "key_case", ("upper", "lower")) == "lower",
        login_pause_s=_number(given, "login_pause_s", default=300, low=10, high=86_400),
        cache_s=3600 * _number(given, "cache_hours", default=24, low=0, high=24),
        married=given.pop("married", ""),
        look_up=given.pop("look_up", ""),
        look_up_fills=_choice(given, "look_up_fills", ("family_card", "record")),
        acts=_several(given, "acts", ("perbaikan", "pembatalan", "pembetulan", "berkas")),
        audience=given.pop("audience", ""),
        ca_file=given.pop("ca_file", ""),
        cert_file=given.pop("cert_file", ""),
        key_file=given.pop("key_file", ""),
    )
    if given:
        raise ConfigError(f"registry.options.{min(given)}: unknown key of the adapter dukcapil")
    for key, text in (("institution", options.institution), ("look_up", options.look_up or "-")):
        if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
            raise ConfigError(f"registry.options.{key}: letters, digits, '.', '_' and '-' only")
    return options


def tls_context(options: Options, *, shown: bool = True) -> ssl.SSLContext | None:
    """Return the context for a private CA and our client certificate (domain C.4, mTLS), or None for the usual one.

    With `shown` False it has the CA alone: for whoever is not to see who we are.
    """
    if not (options.ca_file or (options.cert_file and shown)):
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
        if options.cert_file and shown:
            context.load_cert_chain(options.cert_file, options.key_file or None)
    except OSError as error:
        raise ConfigError(f"registry.options: ca_file, cert_file or key_file cannot be used ({error})") from error
    return context


def _number(given: dict[str, str], key: str, *, default: float, low: float, high: float) -> float:
    text = given.pop(key, "") or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ConfigError(f"registry.options.{key} = {text!r}: write a number from {low} to {high}")
    return value


def _several(given: dict[str, str], key: str, choices: tuple[str, ...]) -> frozenset[str]:
    """Read words with spaces or commas between them; none given is all of them, `none` is none."""
    text = given.pop(key, "") or " ".join(choices)
    words = frozenset(text.replace(",", " ").split()) - {"none"}
    if words - set(choices):
        raise ConfigError(f"registry.options.{key} = {text!r}: write some of {', '.join(choices)}, or none")
    return words


def _choice(given: dict[str, str], key: str, choices: tuple[str, ...]) -> str:
    text = given.pop(key, "") or choices[0]
    if text not in choices:
        raise ConfigError(f"registry.options.{key} = {text!r}: write {' or '.join(choices)}")
    return text
