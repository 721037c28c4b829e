"""What the entry point imports."""

WHO = "trains"
