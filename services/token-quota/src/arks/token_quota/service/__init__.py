"""Use cases of token-quota: `admission`, `metering`, `reports`, the reconcilers of `tokens` and `quotas`, `startup`;
the `index` that they share, filled by `keyring`; the `ports` that they need.
"""
