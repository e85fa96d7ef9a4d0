"""What the functions and the runner share: runs and their moves, admission, launching, ends, triggers, keys."""
