"""The night, replayable: a Follow service, stand-ins for providers, a mailbox. Imports no room.

- Each runs as `python -m demo.NAME` and in tests as `demo.NAME.running()`:
  `follow` (shapes, accounts, sensor, gate, alerts, rest, share, switch),
  `providers` (credentials, ledger, broken, phones, twilio, sms, voice, x, graph, ledgerpage),
  `mailbox` (store, smtp).
- All stand on `faults` (the switchboard), `pages` (the web) and `stage` (socket, thread, process).
- `night` plays the script against the whole, with `site.yaml`.
"""
