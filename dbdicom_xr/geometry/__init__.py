"""Images in space: from the plane attributes to patient coordinates."""
