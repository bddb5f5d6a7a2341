"""Every format that crosses a border between processes, one file each."""
