{{/*
The components of the chart, by name. The other templates iterate over this map and name no component.

Fields of a component:
  controller     Deployment or StatefulSet          replicas, graceSeconds
  values         its part of values.yaml            config      text whose change restarts its pods
  containers     see _containers.tpl                volumes     beside `tmp`
  main           the container that kubectl logs and exec choose; default: the first one
  secrets        which of arks.secrets it mounts    claim       {name, size, storageClassName} of each pod's PVC
  ports          of its Service: name: number          internalPorts   of a second Service, inside the cluster
                 `health` and `envoy` are scraped
  account        true if it calls the API server, with `rules` in the served namespaces, and `optional` rules
  connects       [{to, port}] components that it calls; both ends of the NetworkPolicies come from this list
  reaches        [{peers, ports}] peers outside of the release that it calls; without peers: any address
  accepts        [{peers, port}] peers outside of the release that call it; without peers: any address
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

{{/* The Secret of each secret value, own or external: name: {name, key}. No entry for an external server without one. */}}
{{- define "arks.secrets" -}}
{{- $own := include "arks.secretName" . -}}
pepper: {name: {{ $own }}, key: pepper}
gateway-token: {name: {{ $own }}, key: gateway-token}
operator-token: {name: {{ $own }}, key: operator-token}
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
{{- $reaches = append $reaches (dict "ports" (list (include "arks.urlPort" (dict "url" .) | int))) -}}
{{- end -}}
{{- dict "connects" $connects "reaches" $reaches | toJson -}}
{{- end -}}
