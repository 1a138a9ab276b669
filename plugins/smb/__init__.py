"""SMB shares: Windows file servers, Samba, NAS boxes, and FSx for Windows File Server.

Speaks SMB 2.1 to 3.1.1. The package smbprotocol negotiates, authenticates and derives the keys; requests and
answers themselves are packed and read here, several in one message where that saves waiting.
"""
