"""What can be asked of artifacts: where they come from, whether they still hold, what would be made next."""
