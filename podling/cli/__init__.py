"""The command `podling`: one file per noun or verb, imported when it is used."""
