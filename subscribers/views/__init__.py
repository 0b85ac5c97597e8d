"""The pages of people: sign up, confirm, manage, leave; all without script, cookie or session."""
