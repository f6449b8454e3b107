"""What stands in the place of identity: UIDs, names of patients and days, the same for the same.

All follow from a secret, so that whoever does not know it cannot find them by trying.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping

from dbdicom_xr.errors import InvalidValue
from dbdicom_xr.names import function_name

__all__ = ["NewID", "Pseudonyms"]

NewID = str | Mapping[str, str] | Callable[[str], str]

_MOST_DAYS = 3650
_LEAST_DAYS = 365


class Pseudonyms:
    """What stands in the place of identity, in all objects of one export.

    Parameters
    ----------
    secret : str or None
        What they follow from: with the same one, they are the same another time. None: random.
    patient_id : str, mapping or callable, optional
        The new PatientID; for several patients by old PatientID.

    Examples
    --------
    >>> names = Pseudonyms("not to be guessed")
    >>> names.uid("1.2.3") == names.uid("1.2.3") != names.uid("1.2.4")
    True
    >>> names.uid("1.2.840.10008.1.2.1")
    '1.2.840.10008.1.2.1'
    """

    def __init__(self, secret: str | None = None, patient_id: NewID | None = None) -> None:
        if not (
            patient_id is None or isinstance(patient_id, (str, Mapping)) or callable(patient_id)
        ):
            raise InvalidValue(
                f"PatientID is {patient_id!r}; it is a text, a dict by old PatientID, or a "
                "function of the old PatientID."
            )
        self._key = (
            secrets.token_bytes(32) if secret is None else secret.encode("utf-8", "surrogatepass")
        )
        self._given = patient_id
        self._patients: dict[str, str] = {}
        self._uids: dict[str, str] = {}

    def _digest(self, what: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{what}\0{text}".encode("utf-8", "replace"), hashlib.sha256)

    def uid(self, uid: str) -> str:
        """Return the new UID of what had this one; the same where the standard registers it.

        Those (PS3.6 annex A) name no instance of anybody.
        """
        from pydicom import config
        from pydicom.uid import UID

        uid = uid.strip(" \0")
        if not uid or UID(uid, config.IGNORE).type:
            return uid
        new = self._uids.get(uid)
        if new is None:
            number = int.from_bytes(self._digest("UID", uid)[:16], "big")
            # A UUID of version 4 (PS3.5 B.2), so that it cannot be another one's.
            number = number & ~(0xF << 76) | 4 << 76
            number = number & ~(0x3 << 62) | 2 << 62
            new = self._uids[uid] = f"2.25.{number}"
        return new

    def patient(self, patient_id: str, patient_name: str) -> str:
        """Return PatientID and PatientName of a patient.

        Raises
        ------
        InvalidValue
            The one that was given cannot be used.
        """
        old = patient_id if patient_id.strip() else f"\0{patient_name}"
        new = self._patients.get(old)
        if new is None:
            new = self._new_patient(old, patient_id or patient_name)
            if new in self._patients.values():
                raise InvalidValue(
                    f"Two patients would both become {new!r}, and be one from then on. Give each "
                    "its own: PatientID={'old ID': 'new ID', ...}."
                )
            self._patients[old] = new
        return new

    def _new_patient(self, old: str, shown: str) -> str:
        given = self._given
        if given is None:
            digits = base64.b32encode(self._digest("patient", old)).decode("ascii")
            return f"ANON-{digits[:10]}"
        if isinstance(given, str):
            new: object = given
        elif isinstance(given, Mapping):
            if shown not in given:
                raise InvalidValue(f"PatientID tells no new ID for the patient {shown!r}.")
            new = given[shown]
        else:
            try:
                new = given(shown)
            except Exception as error:
                raise InvalidValue(
                    f"The new PatientID of {shown!r} cannot be had: {function_name(given)} failed "
                    f"with {type(error).__name__}: {error}. Nothing was written."
                ) from error
        if not isinstance(new, str) or not re.fullmatch(r"[!-\[\]-~][ -\[\]-~]{0,63}", new):
            by = f" by {function_name(given)}" if callable(given) else ""
            raise InvalidValue(
                f"PatientID would become {new!r}{by}; it has to be text of 1 to 64 ASCII "
                "characters without backslash."
            )
        return new.strip()

    def days(self, patient_id: str, patient_name: str) -> int:
        """Return the number of days by which the dates of a patient go back."""
        old = patient_id if patient_id.strip() else f"\0{patient_name}"
        number = int.from_bytes(self._digest("days", old)[:8], "big")
        return -(_LEAST_DAYS + number % (_MOST_DAYS - _LEAST_DAYS))

    def mapping(self) -> dict[str, str]:
        """Return what became of which UID and PatientID."""
        patients = {old.lstrip("\0"): new for old, new in self._patients.items()}
        return patients | self._uids
