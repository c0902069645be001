"""What Hubbub is measured against, doing the same work. Each module needs its own packages (the extra `bench`)."""
