"""What a user walks: databases, patients, studies, series, instances, headers."""
