{{/* The agents that keep copies of models on nodes, as a component. */}}
{{- define "arks.nodeCache" -}}
{{- $cache := .Values.nodeCache -}}
{{- $port := int64 $cache.port -}}
{{- $directory := include "arks.nodeCacheDirectory" . -}}
controller: DaemonSet
graceSeconds: 5
values: {{ toJson $cache }}
# Owns the directories that engines of tenants read: pods that are not root cannot write to them.
runAsUser: 0
secrets: [node-cache-key]
connects: [{to: node-cache, port: {{ $port }}}]
reaches: [{peers: {{ toJson .Values.networkPolicy.engines }}, ports: [{{ $port }}]}]
volumes:
  - name: copies
    hostPath: {path: {{ $directory }}, type: DirectoryOrCreate}
containers:
  - name: agent
    image: {{ include "arks.ownImage" (dict "root" . "service" "model-manager") }}
    command: [python, -m, arks.model_manager.programs.node_cache.agent]
    env:
      ARKS_NODE_CACHE_DIR: {{ $directory }}
      ARKS_NODE_CACHE_KEY_FILE: /etc/arks/secrets/node-cache-key
      ARKS_NODE_CACHE_HOST: {{ .Values.network.listenAddress | quote }}
      ARKS_NODE_CACHE_PORT: {{ $port }}
      ARKS_NODE_CACHE_HIGH_PERCENT: {{ $cache.highPercent }}
      ARKS_NODE_CACHE_LOW_PERCENT: {{ $cache.lowPercent }}
      {{- with $cache.bytesPerSecond }}
      ARKS_NODE_CACHE_BYTES_PER_SECOND: {{ int64 . | quote }}
      {{- end }}
      ARKS_LOG_LEVEL: {{ .Values.logLevel }}
    ports: {node-cache: {{ $port }}}
    mounts: {copies: {{ $directory }}, secrets: /etc/arks/secrets}
    resources: {{ toJson $cache.resources }}
    startupProbe:
      httpGet: {path: /healthz, port: node-cache}
      periodSeconds: 1
      timeoutSeconds: 5
      failureThreshold: 120
    livenessProbe:
      httpGet: {path: /healthz, port: node-cache}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
{{- end -}}

{{/* Releases share nodes, not copies. */}}
{{- define "arks.nodeCacheDirectory" -}}
{{ .Values.nodeCache.directory }}/{{ .Release.Namespace }}
{{- end -}}
