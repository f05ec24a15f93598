"""The rules, pure: no clock, randomness, environment, network, disk or Docker in here."""
