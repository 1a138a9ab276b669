"""Locations of type `azure_blob`: a container of Azure Blob Storage, or a prefix in one."""
