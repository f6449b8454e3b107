"""Which attributes belong to the patient, the study and the series, and so go with the place.

PS3.3 C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.2.2 (Patient Study), C.7.3.1 (General
Series).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pydicom.datadict import tag_for_keyword

from dbdicom_xr.index.columns import Key

__all__ = ["IDENTITY", "MUST_BE_THERE", "keys_of"]

_PATIENT: Final = [
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "PatientBirthDate",
    "PatientBirthDateInAlternativeCalendar",
    "PatientDeathDateInAlternativeCalendar",
    "PatientAlternativeCalendar",
    "PatientBirthTime",
    "PatientSex",
    "QualityControlSubject",
    "ReferencedPatientPhotoSequence",
    "ReferencedPatientSequence",
    "OtherPatientIDs",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "EthnicGroup",
    "EthnicGroupCodeSequence",
    "EthnicGroups",
    "PatientComments",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "StrainDescription",
    "StrainNomenclature",
    "StrainCodeSequence",
    "StrainAdditionalInformation",
    "StrainStockSequence",
    "GeneticModificationsSequence",
    "ResponsiblePerson",
    "ResponsiblePersonRole",
    "ResponsibleOrganization",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "CountryOfResidence",
    "RegionOfResidence",
    "PatientReligiousPreference",
    "PatientInsurancePlanCodeSequence",
    "MilitaryRank",
    "BranchOfService",
]

_STUDY: Final = [
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "StudyID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence",
    "PhysiciansOfRecord",
    "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence",
    "RequestingService",
    "RequestingServiceCodeSequence",
    "ReferencedStudySequence",
    "ProcedureCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
]

_PATIENT_STUDY: Final = [
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientSizeCodeSequence",
    "PatientBodyMassIndex",
    "PatientWeight",
    "MeasuredAPDimension",
    "MeasuredLateralDimension",
    "MedicalAlerts",
    "Allergies",
    "SmokingStatus",
    "PregnancyStatus",
    "LastMenstrualDate",
    "PatientState",
    "Occupation",
    "AdditionalPatientHistory",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "ServiceEpisodeID",
    "ServiceEpisodeDescription",
    "IssuerOfServiceEpisodeIDSequence",
    "PatientSexNeutered",
    "ReasonForVisit",
    "ReasonForVisitCodeSequence",
]

_SERIES: Final = [
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDescriptionCodeSequence",
    "SeriesDate",
    "SeriesTime",
    "Laterality",
    "PerformingPhysicianName",
    "PerformingPhysicianIdentificationSequence",
    "ProtocolName",
    "OperatorsName",
    "OperatorIdentificationSequence",
    "ReferencedPerformedProcedureStepSequence",
    "BodyPartExamined",
    "RelatedSeriesSequence",
    "RequestAttributesSequence",
    "PerformedProcedureStepID",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepEndDate",
    "PerformedProcedureStepEndTime",
    "PerformedProcedureStepDescription",
    "PerformedProtocolCodeSequence",
    "CommentsOnThePerformedProcedureStep",
    "TreatmentSessionUID",
    "AnatomicalOrientationType",
]

_LISTS: Final = {
    "patient": _PATIENT,
    "study": _STUDY,
    "patient study": _PATIENT_STUDY,
    "series": _SERIES,
}


def _key(keyword: str) -> Key:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return Key(int(tag))


@lru_cache(maxsize=8)
def keys_of(module: str) -> tuple[Key, ...]:
    """Return the attributes of a module: "patient", "study", "patient study" or "series".

    Examples
    --------
    >>> Key(0x00100040) in keys_of("patient")
    True
    """
    # Older dictionaries of pydicom lack the newest attributes.
    return tuple(_key(keyword) for keyword in _LISTS[module] if tag_for_keyword(keyword))


MUST_BE_THERE: Final = frozenset(
    map(
        _key,
        [
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyDate",
            "StudyTime",
            "ReferringPhysicianName",
            "StudyID",
            "AccessionNumber",
            "SeriesNumber",
        ],
    )
)
"""Attributes of type 2: where the value is unknown they are empty, not absent (PS3.5 7.4.3)."""

IDENTITY: Final = {
    "PatientID": _key("PatientID"),
    "PatientName": _key("PatientName"),
    "StudyInstanceUID": _key("StudyInstanceUID"),
    "SeriesInstanceUID": _key("SeriesInstanceUID"),
    "SOPInstanceUID": _key("SOPInstanceUID"),
}
"""The attributes that say where an instance stands."""
