"""HDFS: one location, two transports. `native` speaks the NameNode's own protocol, `webhdfs` HTTP.

options (what sync.yaml says) -> transport (one protocol, spoken by native.py and webhdfs.py) -> location (scan, stat,
read, put, remove and the roles), with publish.py for the way from content to a name.
"""
