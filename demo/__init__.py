"""The night, replayable: a Follow service, stand-ins for providers, a mailbox. Imports no room."""
