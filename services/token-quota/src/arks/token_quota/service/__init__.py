"""Use cases of token-quota: `admission`, `metering`, `directory` of keys, `tokens` and `quotas` reconciled;
`ports` they need.
"""
