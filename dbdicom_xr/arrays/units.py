"""Units of the attributes whose values are numbers, from their descriptions in PS3.3.

Spelled as UDUNITS reads them, times shortened: xarray takes a variable in ``"milliseconds"`` for a
timedelta when it reads it back from a file, one in ``"ms"`` not.
"""

from __future__ import annotations

_KEYWORDS = {
    "mm": """
        ASLMidSlabPosition ASLSlabThickness BodyPartThickness DataCollectionCenterPatient
        DataCollectionDiameter DistanceSourceToDataCollectionCenter DistanceSourceToDetector
        DistanceSourceToIsocenter DistanceSourceToPatient FocalSpots ImagePlanePixelSpacing
        ImagePositionPatient ImagePositionVolume ImagerPixelSpacing IsocenterPosition
        MidSlabPosition NominalScannedPixelSpacing PixelSpacing RTImagePosition RadialPosition
        ReconstructionDiameter ReconstructionFieldOfView ReconstructionPixelSpacing
        ReconstructionTargetCenterPatient SingleCollimationWidth SlabThickness SliceLocation
        SliceLocationVector SliceThickness SourceAxisDistance SpacingBetweenSlices
        TableFeedPerRotation TableHeight TablePosition TableTopLateralPosition
        TableTopLongitudinalPosition TableTopVerticalPosition TagSpacingFirstDimension
        TagSpacingSecondDimension TagThickness TotalCollimationWidth WaterEquivalentDiameter
    """,
    "degree": """
        AngularStep BeamAngle BeamLimitingDeviceAngle DetectorPrimaryAngle DetectorSecondaryAngle
        FlipAngle GantryAngle GantryDetectorSlew GantryDetectorTilt PatientSupportAngle
        PositionerPrimaryAngle PositionerSecondaryAngle RotationAngle ScanArc StartAngle
        TableAngle TagAngleFirstAxis TagAngleSecondAxis TomoAngle TubeAngle
    """,
    "ms": """
        ASLBolusCutoffDelayTime ASLPulseTrainDuration ActualCardiacTriggerDelayTime
        ActualCardiacTriggerTimePriorToRPeak ActualFrameDuration
        ActualRespiratoryTriggerDelayTime CardiacRRIntervalSpecified EchoTime EffectiveEchoTime
        ExposureTime ExposureTimeInms FrameAcquisitionDuration FrameDelay FrameReferenceTime
        FrameTime FrameTimeVector HighRRValue InversionTime InversionTimes LowRRValue
        NominalCardiacTriggerDelayTime NominalCardiacTriggerTimePriorToRPeak NominalInterval
        NominalRespiratoryTriggerDelayTime PhaseDelay RRIntervalTimeNominal RepetitionTime
        RespiratoryIntervalTime TaggingDelay TimeSlotTime TriggerTime
    """,
    "s": """
        AcquisitionDuration ContrastFlowDuration EffectiveDuration RadionuclideHalfLife
        RevolutionTime TemporalPositionTimeOffset TomoTime
    """,
    "s/mm2": """
        DiffusionBValue DiffusionBValueXX DiffusionBValueXY DiffusionBValueXZ DiffusionBValueYY
        DiffusionBValueYZ DiffusionBValueZZ b_value
    """,
    "us": "ExposureTimeInuS",
    "1/min": "HeartRate",
    "kV": "KVP",
    "mA": "XRayTubeCurrent XRayTubeCurrentInmA",
    "mA s": "Exposure ExposureInmAs",
    "mGy": "CTDIvol",
    "T": "MagneticFieldStrength",
    "T/s": "dBdt",
    "MHz": "ImagingFrequency TransmitterFrequency",
    "Hz": "PixelBandwidth SpectralWidth",
    "W/kg": "SAR",
    "cm/s": "VelocityEncodingMaximumValue VelocityEncodingMinimumValue",
    "mm/s": "TableSpeed",
    "Bq": "RadionuclideTotalDose",
    "ml": "ContrastBolusTotalDose ContrastBolusVolume",
    "kg": "PatientWeight",
    "m": "PatientSize",
}

UNITS = {keyword: unit for unit, keywords in _KEYWORDS.items() for keyword in keywords.split()}

# Of attributes that are in no dictionary.
LONG_NAMES = {
    "b_value": "Diffusion b-value",
    "echo": "Echo Number",
    "gradient_direction": "Diffusion Gradient Direction in the Patient (LPS)",
    "image_type": "What Pixels Are",
}
