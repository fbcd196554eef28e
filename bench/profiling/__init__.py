"""Where the time of a run goes: `./task profile` samples all its processes and adds up phases and causes."""
