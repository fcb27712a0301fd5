{{/*
What the chart runs, by name. The other templates go over this map and know no component by name.

A component says
  controller     Deployment or StatefulSet          replicas, graceSeconds
  values         what the operator set for it       config      text that its pods are restarted for when it changes
  containers     see _containers.tpl                volumes     beside `tmp`
  main           the container that people ask about; the first one
  secrets        which of arks.secrets it mounts    claim       {name, size, storageClassName} of a volume of each pod
  ports          of its Service: name: number          internalPorts   of a second one, which stays in the cluster
                 `health` and `envoy` are scraped
  account        true when it talks to the API server, with `rules` in the watched namespaces; `optional` ones
  connects       [{to, port}] components that it calls: both sides of the network policies are made from this
  reaches        [{peers, ports}] what it calls outside of the release; without peers: any address
  accepts        [{peers, port}] who outside of the release calls it; without peers: anybody
*/}}
{{- define "arks.components" -}}
{{- range $service := keys .Values.services | sortAlpha }}
{{ $service }}:
{{- include "arks.service" (dict "root" $ "name" $service) | nindent 2 }}
{{- end }}
gateway:
{{- include "arks.gateway" . | nindent 2 }}
{{- if not .Values.nats.external.url }}
nats:
{{- include "arks.nats" . | nindent 2 }}
{{- end }}
{{- if not .Values.redis.external.url }}
redis:
{{- include "arks.redis" . | nindent 2 }}
{{- end }}
{{- if not .Values.postgresql.external.url }}
postgresql:
{{- include "arks.postgresql" . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where each secret lies, own or external: name: {name, key}. An external server without one has no entry. */}}
{{- define "arks.secrets" -}}
{{- $own := include "arks.secretName" . -}}
pepper: {name: {{ $own }}, key: pepper}
{{- with .Values.nats.external }}
{{- if not .url }}
nats-token: {name: {{ $own }}, key: nats-token}
{{- else if .tokenSecret.name }}
nats-token: {{ toJson .tokenSecret }}
{{- end }}
{{- end }}
{{- with .Values.redis.external }}
{{- if not .url }}
redis-password: {name: {{ $own }}, key: redis-password}
{{- else if .passwordSecret.name }}
redis-password: {{ toJson .passwordSecret }}
{{- end }}
{{- end }}
{{- with .Values.postgresql.external }}
{{- if not .url }}
postgresql-password: {name: {{ $own }}, key: postgresql-password}
{{- else if .passwordSecret.name }}
postgresql-password: {{ toJson .passwordSecret }}
{{- end }}
{{- end }}
{{- end -}}

{{/* {connects, reaches} for the servers named in `servers`. */}}
{{- define "arks.connections" -}}
{{- $values := .root.Values -}}
{{- $ports := dict "nats" "4222" "redis" "6379" "postgresql" "5432" -}}
{{- $connects := list -}}
{{- $reaches := list -}}
{{- range $server := .servers -}}
{{- $external := (index $values $server).external.url -}}
{{- $port := index $ports $server -}}
{{- if $external -}}
{{- $port = include "arks.urlPort" (dict "url" $external "default" $port) -}}
{{- $reaches = append $reaches (dict "ports" (list (int $port))) -}}
{{- else -}}
{{- $connects = append $connects (dict "to" $server "port" (int $port)) -}}
{{- end -}}
{{- end -}}
{{- with $values.otlpEndpoint -}}
{{- $reaches = append $reaches (dict "ports" (list (include "arks.urlPort" (dict "url" . "default" "4318") | int))) -}}
{{- end -}}
{{- dict "connects" $connects "reaches" $reaches | toJson -}}
{{- end -}}
