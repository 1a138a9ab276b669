"""Locations of type `gcs`: a bucket of Google Cloud Storage, or a prefix in one."""
