"""How often is somebody's real name taken for nobody's? Invented names of common parts, from all over and from abroad.

    python -m tests.identity.names     prints the rate, and the names

None of these is a person: the parts are put together at random. `HARD` are names that come near the list of words
(schemas/hl7/no-names.toml) or near a placeholder, and are real.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

from gateway.contract.nobody import is_no_name, is_nobody

if TYPE_CHECKING:
    from collections.abc import Callable

EACH = 500  # names of each kind
HIGHEST = 0.001  # of all: issue 10

HARD = (
    *("SITI NIHAYAH", "NIHAYATUL HUSNA", "DEWI KOSONGWATI", "ANAK AGUNG GEDE RAKA", "ANAK AGUNG ISTRI MIRAH"),
    *("NI NYOMAN SARI", "I NYOMAN KEMBAR", "I KEMBAR", "NI KEMBAR SARI", "JAKA TINGKIR", "BAYU AJI", "SITI BAYINAH"),
    *("TESTIANA DEWI", "NONA AMBARWATI", "MARIA NONA", "ADA LOVELACE", "YOKO ONO", "PUTRI AYU", "PUTRA PRATAMA"),
    *(
        "BARU SEMBIRING",
        "NAMIRA SALSABILA",
        "ANA MARIA",
        "ANAKLETUS BERE",
        "HANA NANDA",
        "TIDAR PUTRA",
        "TANTAN HIDAYAT",
    ),
    *("TIARA ANDINI", "MAMAN ABDURRAHMAN", "ADE IRMA", "DEDE SUNANDAR", "WALI HIDAYAT", "SAKSONO", "IBUNDA SARI"),
    *("LAHIRA PUTRI", "NYONGKI PRATAMA", "KETUT SARI", "NENENG HASANAH", "AYA SOFIA", "CAN YILMAZ", "SINGGIH WIBOWO"),
    *("SON YEJIN", "EMMA TEST", "MAYA NULL", "NA HYE JIN", "NO MIN JI", "AA GYM", "JANI ISKANDAR", "BOY WILLIAM"),
    *("KARTIKA SATU", "GENDUK WAHYUNI", "TOLE ISKANDAR", "CENING SARI", "ASMA NADIA", "AN NISA RAHMA", "NIHAL SINGH"),
    *("JUDY BLUM", "BABY MARGARETHA", "SAMI HAKIM", "RADHA KRISHNAN", "FULANI YUSUF", "KOSASIH", "KOSIM", "NIHLAH"),
    *("PASHA UNGU", "PASILAH", "DUMAIRI", "KADEK DUMMYANI", "JANINA KOWALSKA", "TANPAKA", "BELUSA", "TIDORE PUTRA"),
    *(
        "NURUL ANNISA",
        "NAMARA SURTIKANTI",
        "BERNAMAWATI",
        "COBALT JAMES",
        "CORBA",
        "IDENTINA",
        "PERTAMAWATI",
        "SEMENTA",
    ),
)

_JAVANESE = [
    "AGUS", "ARIF", "BAGUS", "BAMBANG", "BAYU", "BUDI", "DANANG", "DEDI", "DIMAS", "EKO", "ENDANG",
    "ENI", "FITRI", "GALIH", "HADI", "HENDRA", "INDAH", "JOKO", "KARTINI", "LESTARI", "NINGSIH",
    "NUGROHO", "PARNO", "PONIRAH", "RATNA", "RINI", "SLAMET", "SRI", "SUGENG", "SULASTRI", "SUMIATI",
    "SUPRIYADI", "SUTRISNO", "SUYATMI", "TEGUH", "TRI", "TUMINAH", "UTAMI", "WAHYU", "WATI", "WIDODO",
    "WIJAYA", "WULANDARI", "YANTO", "YULI", "KUSUMA", "PRATAMA", "RAHAYU", "SETIAWAN", "PUTRO",
    "PURNOMO", "HANDAYANI",
]  # fmt: skip
_MUSLIM = [
    "ABDUL", "AHMAD", "AISYAH", "AKBAR", "AMINAH", "ANNISA", "AULIA", "AZIZAH", "BASITH", "FATIMAH",
    "FADHIL", "FAUZAN", "HABIBI", "HAFIZ", "HASANAH", "HIDAYAT", "HUSNA", "IBRAHIM", "ILHAM",
    "KHADIJAH", "KHOIRUL", "LATIFAH", "MAULANA", "MUHAMMAD", "MUSTOFA", "NABILA", "NADIA", "NUR",
    "NURUL", "QONITA", "RAHMAN", "RAMADHANI", "RIZKI", "ROHMAH", "SALSABILA", "SITI", "SYIFA", "ULFA",
    "UMI", "YUSUF", "ZAHRA", "ZAINAL", "NIHAYAH", "INAYAH", "HALIMAH", "MUNAWAROH", "NASIHAH",
]  # fmt: skip
_SUNDANESE = [
    "ASEP", "DADANG", "CECEP", "NENENG", "EUIS", "IMAS", "TATANG", "UJANG", "ENENG", "LILIS", "DEDE",
    "ADE", "AYI", "KOMARUDIN", "SUHERMAN", "KURNIA", "SOPANDI", "ROHAENI", "NURHAYATI", "MULYANA",
    "PERMANA", "GUNAWAN", "SUMINAR", "RUKMANA", "TETI", "ENTIN", "IIS", "IYAN", "OMAN", "YAYAN",
    "ATIKAH",
]  # fmt: skip
_BALINESE_FIRST = [
    "I PUTU", "I MADE", "I NYOMAN", "I KETUT", "NI PUTU", "NI MADE", "NI NYOMAN", "NI KETUT", "NI LUH",
    "I GEDE", "ANAK AGUNG GEDE", "ANAK AGUNG ISTRI", "IDA AYU", "IDA BAGUS", "I GUSTI AYU",
    "I GUSTI NGURAH", "DEWA GEDE", "DESAK MADE", "COKORDA", "I WAYAN", "NI WAYAN", "I KADEK",
    "NI KOMANG",
]  # fmt: skip
_BALINESE = [
    "SUARTA", "ARTINI", "SUKARSA", "WIRAWAN", "SARI", "ASTUTI", "DARMA", "SUDIANA", "MIRAH", "RAI",
    "OKA", "RAKA", "ARDANA", "PUSPA", "LARAS", "MAHENDRA", "SASTRA", "YASA", "SUASTINI", "KEMBAR",
    "ADNYANA", "PARWATA", "WIDIASIH", "ANGGRENI", "KARTIKA",
]  # fmt: skip
_EASTERN = [
    "YOHANES", "MARIA", "NONA", "ANTONIUS", "MARTHA", "YOSEPH", "TOBIAS", "BERNADETHA", "AGUSTINUS",
    "DOMINGGUS", "FRANSISKUS", "ADELINA", "KATARINA", "PETRUS", "MARKUS", "ORPA", "YULIANA", "SELVI",
    "FERDINAN", "ALFONSUS", "THERESIA",
]  # fmt: skip
_CLANS = [
    "SIMANJUNTAK", "SITOMPUL", "NASUTION", "HUTAPEA", "SEMBIRING", "GINTING", "TARIGAN", "MANURUNG",
    "PURBA", "SIREGAR", "TNUNAY", "BERE", "TAMONOB", "LAKAPU", "MANUHUTU", "LATUHERU", "PATTY",
    "RUMBIAK", "WENDA", "KOGOYA", "MANDOWEN", "TALLO", "SERAN", "NENO", "TODING", "PASANG",
    "LUMEMPOUW", "MOMONGAN", "DAENG", "SAMA",
]  # fmt: skip
_FOREIGN_FIRST = [
    "JOHN", "ANNA", "PIERRE", "SOFIA", "LUCAS", "EMMA", "HIROSHI", "YUKI", "MEHMET", "CAN", "AYSE",
    "ANU", "ADA", "IDA", "NADINE", "OLGA", "IVAN", "PRIYA", "RAJESH", "LI", "MEI", "MIN", "JUDY",
    "PAUL", "MARK", "BLANKA", "PATIENCE", "CHANCE", "NOELLE", "NONNA", "NEIL", "NILS", "NULA", "TESS",
    "TESSA", "UNA", "ANONA", "ONA", "MALE", "SON", "KIM",
]  # fmt: skip
_FOREIGN_LAST = [
    "SMITH", "MILLER", "BLUM", "BLANK", "NOLAN", "NAMER", "NOEL", "MARTIN", "JANSEN", "VAN", "DIJK",
    "GARCIA", "SILVA", "ROSSI", "KOWALSKI", "SATO", "TANAKA", "YILMAZ", "PATEL", "SINGH", "NGUYEN",
    "CHEN", "WANG", "PARK", "CHOI", "OLSEN", "VIRTANEN", "IVANOV", "TESTA", "COBB", "TEMPEL", "SAMPLE",
    "NEWBORN", "GUEST", "DOERR", "PERSON", "CHILDERS",
]  # fmt: skip


def invented(*, each: int = EACH, seed: int = 10) -> list[str]:
    """Return different names of five kinds, in capitals, and the hard ones."""
    rng = random.Random(seed)
    kinds: tuple[Callable[[], str], ...] = (
        lambda: _joined(rng, _JAVANESE, 1, 3),
        lambda: _joined(rng, _MUSLIM, 2, 3),
        lambda: _joined(rng, _SUNDANESE, 1, 2),
        lambda: f"{rng.choice(_BALINESE_FIRST)} {_joined(rng, _BALINESE, 1, 2)}",
        lambda: f"{_joined(rng, _EASTERN, 1, 2)} {rng.choice(_CLANS)}",
        lambda: f"{rng.choice(_FOREIGN_FIRST)} {rng.choice(_FOREIGN_LAST)}",
        lambda: f"{_joined(rng, _MUSLIM, 1, 2)} {_joined(rng, _JAVANESE, 1, 2)}",
    )
    found = dict.fromkeys(HARD)
    for kind in kinds:
        for _ in range(each):
            found[kind()] = None
    return list(found)


def _joined(rng: random.Random, parts: list[str], least: int, most: int) -> str:
    return " ".join(rng.sample(parts, rng.randint(least, most)))


def taken_for_nobody(names: list[str]) -> list[str]:
    """Return the names that would hold a birth, as a child's or as anybody else's."""
    return [name for name in names if is_no_name(name) or is_nobody(name)]


if __name__ == "__main__":
    everybody = invented()
    wrong = taken_for_nobody(everybody)
    rate = f"{len(wrong) / len(everybody):.4%}"
    sys.stdout.write(f"{len(everybody)} invented names, {len(wrong)} taken for nobody's: {rate}\n")
    sys.stdout.writelines(f"{name}\n" for name in wrong)
