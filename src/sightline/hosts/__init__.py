"""What a process, and the machine that it is on, use: memory, CPU, disk, network, devices."""

from sightline.hosts.monitoring import HostMonitor, monitor_hosts

__all__ = ["HostMonitor", "monitor_hosts"]
