{{/* NATS, Redis and PostgreSQL as components: one replica with a volume each. For more, use external servers. */}}

{{- define "arks.claim" -}}
{{- $persistence := .persistence -}}
{{- if and $persistence.enabled (not $persistence.existingClaim) -}}
claim: {name: data, size: {{ $persistence.size }}, storageClassName: {{ toJson $persistence.storageClassName }}}
{{- end }}
{{- end -}}

{{- define "arks.dataVolume" -}}
{{- if not .persistence.enabled }}
- name: data
  emptyDir: {}
{{- else if .persistence.existingClaim }}
- name: data
  persistentVolumeClaim: {claimName: {{ .persistence.existingClaim }}}
{{- end }}
{{- end -}}

{{- define "arks.nats" -}}
{{- $nats := .Values.nats -}}
controller: StatefulSet
replicas: 1
graceSeconds: 30
values: {{ toJson $nats }}
ports: {nats: 4222}
config: {{ include "arks.natsConfig" . | quote }}
{{ include "arks.claim" $nats }}
accepts:
  {{- with .Values.networkPolicy.natsFrom }}
  - peers: {{ toJson . }}
    port: 4222
  {{- end }}
volumes:
  - name: config
    configMap: {name: {{ include "arks.fullname" . }}-nats}
  {{- include "arks.dataVolume" $nats | nindent 2 }}
containers:
  - name: nats
    image: {{ include "arks.image" (dict "root" . "image" $nats.image) }}
    command: [nats-server, --config, /etc/nats/nats.conf]
    # The configuration refers to this variable, so that no file contains the token.
    secretEnv: {NATS_TOKEN: nats-token}
    ports: {nats: 4222}
    mounts: {config: /etc/nats, data: /data}
    resources: {{ toJson $nats.resources }}
    # Monitoring has no login, so only this container reaches it. BusyBox is in NATS' images of Alpine.
    startupProbe:
      exec: {command: [wget, -q, -T, "4", -O, /dev/null, "http://127.0.0.1:8222/healthz"]}
      periodSeconds: 1
      timeoutSeconds: 5
      failureThreshold: 300
    readinessProbe:
      exec: {command: [wget, -q, -T, "4", -O, /dev/null, "http://127.0.0.1:8222/healthz?js-server-only=true"]}
      periodSeconds: 5
      timeoutSeconds: 5
    # With all streams: one whose write failed on a full volume takes no more messages until NATS starts again. A stream
    # that is just deleted fails it too, but not for a minute.
    livenessProbe:
      exec: {command: [wget, -q, -T, "4", -O, /dev/null, "http://127.0.0.1:8222/healthz"]}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
{{- end -}}

{{- define "arks.natsConfig" -}}
server_name: {{ include "arks.fullname" . }}
{{- $host := .Values.network.listenAddress }}
{{- if contains ":" $host }}
{{- $host = printf "[%s]" $host }}
{{- end }}
listen: "{{ $host }}:4222"
http: "127.0.0.1:8222"
authorization {
  token: $NATS_TOKEN
  timeout: 2
}
jetstream {
  store_dir: "/data"
  max_memory_store: 67108864
  max_file_store: {{ int64 .Values.nats.fileStoreBytes }}
}
max_connections: 1024
max_payload: 1048576
max_pending: 33554432
write_deadline: "5s"
logtime_utc: true
{{- end -}}

{{- define "arks.redis" -}}
{{- $redis := .Values.redis -}}
controller: StatefulSet
replicas: 1
graceSeconds: 30
values: {{ toJson $redis }}
ports: {redis: 6379}
secrets: [redis-password]
config: {{ include "arks.redisConfig" . | quote }}
{{ include "arks.claim" $redis }}
volumes:
  - name: config
    configMap: {name: {{ include "arks.fullname" . }}-redis}
  - name: run
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
  {{- include "arks.dataVolume" $redis | nindent 2 }}
containers:
  - name: redis
    image: {{ include "arks.image" (dict "root" . "image" $redis.image) }}
    # Its configuration cannot refer to a file with the password, and every process could read an argument.
    command:
      - sh
      - -euc
      - |
        umask 077
        cat /etc/valkey/valkey.conf > /run/valkey/valkey.conf
        printf 'requirepass "%s"\n' "$(sed 's/["\\]/\\&/g' /etc/arks/secrets/redis-password)" >> /run/valkey/valkey.conf
        exec valkey-server /run/valkey/valkey.conf
    ports: {redis: 6379}
    mounts: {config: /etc/valkey, run: /run/valkey, data: /data, secrets: /etc/arks/secrets}
    resources: {{ toJson $redis.resources }}
    startupProbe:
      tcpSocket: {port: redis}
      periodSeconds: 1
      timeoutSeconds: 5
      failureThreshold: 300
    readinessProbe:
      tcpSocket: {port: redis}
      periodSeconds: 5
      timeoutSeconds: 5
    livenessProbe:
      tcpSocket: {port: redis}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
{{- end -}}

{{- define "arks.redisConfig" -}}
bind * -::*
port 6379
protected-mode yes
dir /data
daemonize no
databases 1
save ""
appendonly yes
appendfsync everysec
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 16mb
maxmemory {{ int64 .Values.redis.memoryBytes }}
maxmemory-policy noeviction
maxclients 4096
tcp-keepalive 60
loglevel notice
logfile ""
{{- end -}}

{{- define "arks.postgresql" -}}
{{- $postgresql := .Values.postgresql -}}
controller: StatefulSet
replicas: 1
# The image stops it with SIGINT: the fast shutdown, which writes a checkpoint
graceSeconds: 60
values: {{ toJson $postgresql }}
runAsUser: {{ toJson $postgresql.runAsUser }}
ports: {postgresql: 5432}
secrets: [postgresql-password]
{{ include "arks.claim" $postgresql }}
volumes:
  - name: run
    emptyDir: {}
  {{- include "arks.dataVolume" $postgresql | nindent 2 }}
containers:
  - name: postgresql
    image: {{ include "arks.image" (dict "root" . "image" $postgresql.image) }}
    env:
      POSTGRES_USER: arks
      POSTGRES_DB: arks
      POSTGRES_PASSWORD_FILE: /etc/arks/secrets/postgresql-password
      POSTGRES_INITDB_ARGS: --auth-host=scram-sha-256
      # A directory below the volume's root, which may contain lost+found
      PGDATA: /var/lib/postgresql/data/pgdata
    ports: {postgresql: 5432}
    mounts: {run: /var/run/postgresql, data: /var/lib/postgresql/data, secrets: /etc/arks/secrets}
    resources: {{ toJson $postgresql.resources }}
    startupProbe:
      exec:
        command: [pg_isready, -U, arks, -h, 127.0.0.1]
      periodSeconds: 2
      timeoutSeconds: 5
      failureThreshold: 300
    readinessProbe:
      exec:
        command: [pg_isready, -U, arks, -h, 127.0.0.1]
      periodSeconds: 5
      timeoutSeconds: 5
    livenessProbe:
      exec:
        command: [pg_isready, -U, arks, -h, 127.0.0.1]
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
{{- end -}}
