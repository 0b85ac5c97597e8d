"""What providers call back with, a door for each: bounces, receipts, replies, key presses, buttons."""
