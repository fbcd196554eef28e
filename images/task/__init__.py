"""What goes into the task image beside its two environments."""
