"""What token-quota decides, as pure functions of plain data: no clock, no I/O.

`limits` windows, budgets and the judgement over them; `estimate` what a request reserves; `access` who may use what;
`answers` how refusals and remainders look to clients; `charge` what a line of the usage log costs; `posting` what the
ledger writes.
"""
