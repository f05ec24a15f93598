"""One control loop per file. They meet only in the store; a wake-up is a hint, a poll is the truth."""
