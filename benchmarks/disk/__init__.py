"""What crashes, full disks and cut files leave behind, and whether the same command goes on."""
