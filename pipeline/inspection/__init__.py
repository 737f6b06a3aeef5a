"""Pictures of what tracking did to a clip: an overlay film, a contact sheet, a recording for the rerun viewer."""
