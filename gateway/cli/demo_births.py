"""Invented births for the demo: complete HL7 v2.5 messages as a hospital would send them today.

Every birth has a control id, record number and mother of its own; the first delivery of three is a singleton, the
second is twins. NIK serials are 900x: numbers that the registry sandbox knows and no real person has.
"""

from __future__ import annotations

import datetime as dt
import itertools
import secrets
import time
from dataclasses import dataclass
from zoneinfo import ZoneInfo

_GIRLS = ("AISYAH", "NADIA", "KHALISA", "ALYA", "ZAHRA", "KIRANA", "SEKAR", "LARAS", "INTAN", "PUTRI")
_BOYS = ("RIZKI", "ARYA", "BAGAS", "DIMAS", "FAJAR", "GALIH", "RAKA", "SATRIA", "WISNU", "YOGA")
_SECOND = (
    "PRATAMA",
    "LESTARI",
    "CAHYANI",
    "NUGRAHA",
    "WIJAYA",
    "KUSUMA",
    "PERMATA",
    "ANGGRAINI",
    "SAPUTRA",
    "MAHARANI",
)
_MOTHERS = ("DEWI", "SITI", "RINA", "YULI", "SRI", "RATNA", "WULAN", "INDAH", "NUR", "FITRI")
_FATHERS = ("AGUS", "BUDI", "HENDRA", "SLAMET", "JOKO", "ARIF", "BAMBANG", "EKO", "FAISAL", "HARI")
_FIRST_MOTHER = dt.date(1986, 1, 1)
_MOTHERS_DAYS = 5000
_DISTRICTS = 25
_FAMILIES = 10 * _MOTHERS_DAYS
_NUMBERS = itertools.count(secrets.randbelow(_FAMILIES))  # each run has other mothers: nobody gives birth twice a week
_TWINS_AT, _TWINS = 1, 2


@dataclass(frozen=True, slots=True)
class DemoBirth:
    """One message, its control id, and what it is."""

    control_id: str
    what: str
    message: bytes


def demo_births(count: int) -> list[DemoBirth]:
    """Return `count` births: a singleton, twins, then singletons."""
    now = dt.datetime.now(ZoneInfo("Asia/Jakarta")).replace(microsecond=0)
    run = f"D{time.time_ns() // 1000 % 10**10:010}"  # another run has other control ids and record numbers
    births: list[DemoBirth] = []
    family = 0
    while len(births) < count:
        size = _TWINS if family == _TWINS_AT and count - len(births) >= _TWINS else 1
        number = next(_NUMBERS) % _FAMILIES
        for order in range(1, size + 1):
            births.append(_birth(run, len(births), _Family(number, size), order=order, now=now))
        family += 1
    return births


@dataclass(frozen=True, slots=True)
class _Family:
    number: int
    size: int

    @property
    def mother_nik(self) -> str:
        day = self._mother_born
        return f"3510{self._district:02}{day.day + 40:02}{day:%m%y}900{self._series}"

    @property
    def father_nik(self) -> str:
        return f"3510{self._district:02}{self._mother_born - dt.timedelta(days=900):%d%m%y}900{self._series}"

    @property
    def card(self) -> str:
        return f"3510{self._district:02}14051890{self.number % 90 + 10:02}"

    @property
    def mother_born(self) -> str:
        return f"{self._mother_born:%Y%m%d}"

    @property
    def father_born(self) -> str:
        return f"{self._mother_born - dt.timedelta(days=900):%Y%m%d}"

    @property
    def mother(self) -> str:
        return f"{_MOTHERS[self.number % 10]} {_SECOND[self.number // 10 % 10]}"

    @property
    def father(self) -> str:
        return f"{_FATHERS[self.number % 10]} {_SECOND[(self.number // 10 + 4) % 10]}"

    @property
    def _mother_born(self) -> dt.date:
        return _FIRST_MOTHER + dt.timedelta(days=self.number * 7 % _MOTHERS_DAYS)

    @property
    def _district(self) -> int:
        return 1 + self.number % _DISTRICTS

    @property
    def _series(self) -> int:
        return self.number // _MOTHERS_DAYS % 10


def _birth(run: str, number: int, family: _Family, *, order: int, now: dt.datetime) -> DemoBirth:
    control_id = f"{run}{number:05}"
    girl = (family.number + order) % 2 == 0
    first = (_GIRLS if girl else _BOYS)[(number + order) % 10]
    name = f"{first} {_SECOND[number // 10 % 10]} {_SECOND[(number + 3) % 10]}"
    born = now - dt.timedelta(hours=5, minutes=number % 60) + dt.timedelta(minutes=12 * (order - 1))
    values = {
        "cid": control_id,
        "mrn": f"{run[1:]}{number:05}",
        "now": f"{now:%Y%m%d%H%M%S%z}",
        "born": f"{born:%Y%m%d%H%M%S%z}",
        "name": name,
        "sex": "F" if girl else "M",
        "twins": "Y" if family.size > 1 else "N",
        "order": order,
        "size": family.size,
        "kind": ("1^Tunggal", "2^Kembar 2")[family.size - 1],
        "parity": 1 + family.number % 3 + order - 1,
        "weight": 3150 - 700 * (family.size - 1) + number % 9 * 10,
        "length": 49 - 4 * (family.size - 1),
        "mother_mrn": f"M{run[1:]}{family.number:05}",
        "witness": "3510161508709001^SLAMET RIYADI|3510165811759001^ENDANG SULASTRI",
        "family": family,
    }
    what = f"twin {order} of {family.size}" if family.size > 1 else "singleton"
    return DemoBirth(control_id, what, "".join(f"{line.format_map(values)}\r" for line in _TEMPLATE).encode())


_ADDRESS = "DSN KRAJAN RT 002 RW 001^^BANYUWANGI^35^68411^IDN^H^^3510161004"
_TEMPLATE = (
    (
        r"MSH|^~\&|SIMRS|RSU CEMPAKA CONTOH^3510999^L|AKTAGW|DISDUKCAPIL 3510^3510^L|{now}||ADT^A01^ADT_A01|{cid}|P|2.5"
        "|||||IDN|UNICODE UTF-8"
    ),
    "EVN|A01|{now}|||OPR017|{born}",
    "PID|1||{mrn}^^^RSCEMPAKA^MR~{family.card}^^^DUKCAPIL^KK||{name}^^^^^^L||{born}|{sex}|||" + _ADDRESS + "|||||S|||||"
    "{mother_mrn}^^^RSCEMPAKA^MR~{family.mother_nik}^^^DUKCAPIL^NI||BANYUWANGI|{twins}|{order}|IDN||IDN^Indonesia^ISO3166",
    "NK1|1|{family.mother}^^^^^^L|MTH^Mother^HL70063|"
    + _ADDRESS
    + "|||||||||||F|{family.mother_born}|||IDN||||||||||||||"
    "{family.mother_nik}^^^DUKCAPIL^NI~{mother_mrn}^^^RSCEMPAKA^MR",
    "NK1|2|{family.father}^^^^^^L|FTH^Father^HL70063|"
    + _ADDRESS
    + "|||||||||||M|{family.father_born}|||IDN||||||||||||||"
    "{family.father_nik}^^^DUKCAPIL^NI",
    "PV1|1|I|NIFAS^203^1^RSCEMPAKA|N|||DPJP01||||||||||||V{mrn}|||||||||||||||||||||||||{born}",
    "PV2||||||||||||||||||||||||||||||||||||Y|N",
    "OBX|1|NM|8339-4^Birth weight Measured^LN||{weight}|g^g^UCUM|||||F|||{born}",
    "OBX|2|NM|89269-5^Body height Measured --at birth^LN||{length}|cm^cm^UCUM|||||F|||{born}",
    "OBX|3|NM|11884-4^Gestational age Estimated^LN||38|wk^wk^UCUM|||||F|||{born}",
    "OBX|4|NM|57722-1^Birth plurality of Pregnancy^LN||{size}|{{#}}^{{#}}^UCUM|||||F|||{born}",
    (
        "ZKL|1|1^RS/RB|{kind}|{parity}|2^Bidan/Perawat|{weight}|{length}|SKL/{cid}"
        "|0451/017/VI/2019^20190616^KUA BANYUWANGI|{family.father_nik}^{family.father}^AYAH|{witness}"
    ),
)
