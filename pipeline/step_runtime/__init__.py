"""What a process that works for a step owes the machine: its times, its scratch files, its locks, a quiet console."""
