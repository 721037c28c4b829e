"""The workshop's tests, and what runs and checks its lessons."""
