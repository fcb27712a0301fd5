"""Models on Kubernetes: a volume claim that holds the weights, a Job that loads them.

`manifests` says what we write, `states` what we read, `objects` keeps what is there, `progress` follows the logs of
workers, `storage` is the port, `notices` writes Events. Imported only there: the API server's client takes 70 MB.
"""
