"""What becomes of trials that were probed: what is known of them, and who decides."""
