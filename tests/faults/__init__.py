"""Faults: kills, freezes, cut connections, full disks, broken records, wrong requests."""
