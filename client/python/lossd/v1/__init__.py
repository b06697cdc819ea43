"""Generated from proto/lossd/v1: never edited."""
