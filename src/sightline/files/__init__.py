"""Files that outlive a crash: whole lines, holes, full disks, each process's own, copies elsewhere."""
