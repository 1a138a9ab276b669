"""Every storage rclone speaks to, through one private rclone daemon a process; WebDAV and FTP as presets of it."""
