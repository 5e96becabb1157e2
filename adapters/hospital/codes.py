"""What hospitals write for the value lists of F-2.01 (domain A.2, B.5): its codes, SNOMED, words. Tables only."""

from __future__ import annotations

from gateway.contract.record import Attendant, PlaceKind, PluralityKind

# Table 0136, and what Indonesian systems write there: ya, tidak.
YES = frozenset({"Y", "YA", "YES", "1", "TRUE"})
NO = frozenset({"N", "T", "TIDAK", "NO", "0", "FALSE"})
ATTENDANTS = {
    **{str(a.value): a for a in Attendant},
    "112247003": Attendant.DOCTOR,
    "76231001": Attendant.DOCTOR,
    "445521000124102": Attendant.MIDWIFE_OR_NURSE,
    "445531000124104": Attendant.MIDWIFE_OR_NURSE,
}
ATTENDANT_WORDS = (
    ("DOKTER", Attendant.DOCTOR),
    ("BIDAN", Attendant.MIDWIFE_OR_NURSE),
    ("PERAWAT", Attendant.MIDWIFE_OR_NURSE),
    ("DUKUN", Attendant.TRADITIONAL),
    ("LAINNYA", Attendant.OTHER),
)
PLACES = {
    **{str(p.value): p for p in PlaceKind},
    "22232009": PlaceKind.HOSPITAL,
    "91154008": PlaceKind.HOSPITAL,  # birth centre: rumah bersalin, RB
    "67190003": PlaceKind.OTHER,
    "408839006": PlaceKind.HOME,
    "408838003": PlaceKind.HOME,
}
PLACE_WORDS = (
    ("RUMAH SAKIT", PlaceKind.HOSPITAL),
    ("RUMAH BERSALIN", PlaceKind.HOSPITAL),
    ("RS", PlaceKind.HOSPITAL),
    ("RB", PlaceKind.HOSPITAL),
    ("PUSKESMAS", PlaceKind.PUSKESMAS),
    ("PUSKEMAS", PlaceKind.PUSKESMAS),  # so spelt in public village software (B.5)
    ("POLINDES", PlaceKind.POLINDES),
    ("RUMAH", PlaceKind.HOME),
    ("LAINNYA", PlaceKind.OTHER),
)
PLURALITIES = {int(kind): kind for kind in PluralityKind}
PLURALITY_WORDS = {
    "SINGLE": PluralityKind.SINGLE,
    "SINGLETON": PluralityKind.SINGLE,
    "TUNGGAL": PluralityKind.SINGLE,
    "TWIN": PluralityKind.TWIN,
    "TRIPLET": PluralityKind.TRIPLET,
    "QUADRUPLET": PluralityKind.QUADRUPLET,
    **{f"KEMBAR {n}": PluralityKind(n) for n in (2, 3, 4)},
}
