"""Locations of types `s3` and `object_storage`: a bucket, or a prefix of one, at Amazon S3 or any server that speaks it.

Object-store semantics stand in runner_plugins.objects; here is the protocol: requests, signatures, replies.
"""
