{{/*
The components of the chart, by name. The other templates iterate over this map and name no component.

Fields of a component:
  controller     Deployment, StatefulSet, DaemonSet  replicas, graceSeconds
  values         its part of values.yaml            config      text whose change restarts its pods
  containers     see _containers.tpl                volumes     beside `tmp`
  main           the container that kubectl logs and exec choose; default: the first one
  secrets        which of arks.secrets it mounts    claim       {name, size, storageClassName} of each pod's PVC
  ports          of its Service: name: number          internalPorts   of a second Service, inside the cluster
                 `health` and `envoy` are scraped
  account        true if it calls the API server, with `rules` in the served namespaces, and `optional` rules
  onlyReads      true: it elects no leader and writes no Kubernetes Events
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
{{- if .Values.nodeCache.enabled }}
node-cache:
{{- include "arks.nodeCache" . | nindent 2 }}
{{- end }}
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
{{- if .Values.nodeCache.enabled }}
node-cache-key: {name: {{ $own }}, key: node-cache-key}
{{- end }}
{{- range $server, $main := dict "nats" "token" "redis" "password" "postgresql" "password" }}
{{- $external := (index $.Values $server).external }}
{{- if not $external.url }}
{{ $server }}-{{ $main }}: {name: {{ $own }}, key: {{ $server }}-{{ $main }}}
{{- else }}
{{- range $kind := list "token" "password" "credentials" "nkey" "ca" }}
{{- $secret := index $external (printf "%sSecret" $kind) | default dict }}
{{- if $secret.name }}
{{ $server }}-{{ $kind }}: {{ toJson $secret }}
{{- end }}
{{- end }}
{{- with $external.certificateSecret.name }}
{{ $server }}-certificate: {name: {{ . }}, key: tls.crt}
{{ $server }}-certificate-key: {name: {{ . }}, key: tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (root, server): names of arks.secrets that belong to a server, as {names: [...]}. */}}
{{- define "arks.secretsOf" -}}
{{- $names := list -}}
{{- range $name := keys (include "arks.secrets" .root | fromYaml) | sortAlpha -}}
{{- if hasPrefix (printf "%s-" $.server) $name -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- end -}}
{{- dict "names" $names | toJson -}}
{{- end -}}

{{/* (root, server): settings of a program that connects to the server: <server>_<what>_file and the user. */}}
{{- define "arks.serverSettings" -}}
{{- $settings := dict -}}
{{- range $name := (include "arks.secretsOf" . | fromJson).names -}}
{{- $_ := set $settings (printf "%s_file" ($name | replace "-" "_")) (printf "/etc/arks/secrets/%s" $name) -}}
{{- end -}}
{{- with (index .root.Values .server).external.user -}}
{{- $_ := set $settings (printf "%s_user" $.server) . -}}
{{- end -}}
{{- toJson $settings -}}
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
{{- $numbers := list -}}
{{- range $url := splitList "," $external -}}
{{- $numbers = append $numbers (include "arks.urlPort" (dict "url" $url "default" $port) | int) -}}
{{- end -}}
{{- $reaches = append $reaches (dict "ports" (uniq $numbers)) -}}
{{- else -}}
{{- $connects = append $connects (dict "to" $server "port" (int $port)) -}}
{{- end -}}
{{- end -}}
{{- with $values.otlpEndpoint -}}
{{- $reaches = append $reaches (dict "ports" (list (include "arks.urlPort" (dict "url" .) | int))) -}}
{{- end -}}
{{- dict "connects" $connects "reaches" $reaches | toJson -}}
{{- end -}}
