"""Types, rules and decisions of token-quota: pure functions of plain data, no clock, no I/O.

A request: `access` (key and model), `estimate` and `reservation` (what it may use at most), `limits` (whether that
fits), `grant` and `answers` (what its client gets). Its usage: `charge` (a line of the usage log), `wire` (the record
on the stream), `usage` and `posting` (entries of the ledger).
"""
