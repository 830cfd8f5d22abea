"""What every suite stands on: the program under test, peers that talk to it, and who counts the verdicts."""
