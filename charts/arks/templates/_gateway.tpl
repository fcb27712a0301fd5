{{/*
Envoy and the usage shipper are sidecars of the program `drain`, which does nothing until the pod ends. Kubernetes stops
a pod's main container first and then its sidecars, in reverse order. So `drain` waits until the streams in flight have
ended, then Envoy stops, then the shipper publishes the rest of the usage log.
*/}}
{{- define "arks.gateway" -}}
{{- $gateway := .Values.gateway -}}
{{- $outside := include "arks.gatewayPort" . | fromYaml -}}
{{- $connections := include "arks.connections" (dict "root" . "servers" (list "nats")) | fromJson -}}
{{- $shipper := dict
  "envoy_admin_port" 9901
  "usage_log" "/var/lib/arks/usage.log"
  "usage_log_max_total_bytes" $gateway.usageLog.maxBytes
  "drain_seconds" 20 -}}
controller: Deployment
main: envoy
replicas: {{ $gateway.replicas }}
# Time for the streams, then for the shipper, which takes up to its drain_seconds
graceSeconds: {{ add $gateway.settleSeconds $gateway.drainSeconds 30 }}
values: {{ toJson $gateway }}
ports: {{ dict $outside.name $outside.number | toJson }}
internalPorts: {health: 8081, envoy: 9902}
secrets: {{ (include "arks.secretsOf" (dict "root" . "server" "nats") | fromJson).names | toJson }}
config: {{ include "arks.bootstrap" . | quote }}
connects: {{ concat $connections.connects (list (dict "to" "endpoint-router" "port" 18000) (dict "to" "token-quota" "port" 8090)) | toJson }}
reaches: {{ append $connections.reaches (dict "peers" .Values.networkPolicy.engines) | toJson }}
accepts:
  - peers: {{ toJson .Values.networkPolicy.clients }}
    port: {{ $outside.number }}
volumes:
  - name: bootstrap
    configMap:
      name: {{ include "arks.fullname" . }}-gateway
  {{- with $gateway.tls.secretName }}
  # The kubelet updates the file when the Secret changes, and Envoy reloads it. A pod waits until the Secret exists.
  - name: certificate
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  - name: usage
    emptyDir:
      # A pod with more is evicted; the shipper drops the oldest lines before that.
      sizeLimit: {{ add (int64 $gateway.usageLog.maxBytes) 268435456 }}
  - name: filter
    emptyDir: {sizeLimit: 16Mi}
containers:
  # Envoy's image has no filter: it comes with endpoint-router, which configures it.
  - name: filter
    init: true
    image: {{ include "arks.ownImage" (dict "root" . "service" "endpoint-router") }}
    command: [python, -m, arks.gateway_filter]
    args: [/opt/arks-filter]
    mounts: {filter: /opt/arks-filter}
    resources:
      requests: {cpu: 1m, memory: 24Mi}
      limits: {memory: 64Mi}
  - name: usage-shipper
    sidecar: true
    image: {{ include "arks.ownImage" (dict "root" . "service" "token-quota") }}
    command: [python, -m, arks.token_quota.programs.shipper]
    env:
      {{- include "arks.environment" (dict "root" . "settings" $shipper) | nindent 6 }}
    # Envoy's filter and the shipper name the gateway in leases and in usage batches by it
    fieldEnv: {ARKS_GATEWAY: metadata.name}
    ports: {health: 8081}
    mounts: {usage: /var/lib/arks, secrets: /etc/arks/secrets}
    resources: {{ toJson $gateway.shipper.resources }}
    # No readiness or startup probe, because Envoy would wait for them: usage may be late, clients must not wait.
    livenessProbe:
      httpGet: {path: /healthz, port: health}
      initialDelaySeconds: 120
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
  - name: envoy
    sidecar: true
    image: {{ include "arks.image" (dict "root" . "image" $gateway.image) }}
    command: [envoy]
    args:
      - --disable-hot-restart
      - --config-path
      - /etc/envoy/bootstrap.json
      - --service-node
      - $(POD_NAME)
      - --concurrency
      - {{ $gateway.workers | quote }}
      - --file-flush-min-size-kb
      - "1"
      - --file-flush-interval-msec
      - "100"
      # Time for requests in flight when an upgrade changes the listener
      - --drain-time-s
      - {{ max 1 $gateway.drainSeconds | quote }}
      # While draining, every answer closes its connection, so that clients reconnect to another pod
      - --drain-strategy
      - immediate
      - --log-level
      - warn
    env: {ENVOY_DYNAMIC_MODULES_SEARCH_PATH: /opt/arks-filter}
    fieldEnv: {ARKS_GATEWAY: metadata.name, POD_NAME: metadata.name}
    # For endpoint-router (bootstrap.json) and token-quota (the filter)
    secretEnv: {ARKS_GATEWAY_TOKEN: gateway-token}
    ports: {{ dict $outside.name $outside.number "envoy" 9902 | toJson }}
    mounts:
      bootstrap: /etc/envoy
      usage: /var/lib/arks
      filter: /opt/arks-filter
      {{- if $gateway.tls.secretName }}
      certificate: /etc/arks/certificate
      {{- end }}
    readOnly: [filter]
    resources: {{ toJson $gateway.resources }}
    # The port opens when Envoy has its configuration. No liveness probe: without a router Envoy keeps serving.
    readinessProbe:
      tcpSocket: {port: {{ $outside.name }}}
      periodSeconds: 2
      timeoutSeconds: 5
  - name: drain
    image: {{ include "arks.ownImage" (dict "root" . "service" "endpoint-router") }}
    command: [python, -m, arks.endpoint_router.programs.drain]
    args:
      - --admin-port=9901
      - --settle-seconds={{ $gateway.settleSeconds }}
      - --drain-seconds={{ $gateway.drainSeconds }}
    resources:
      requests: {cpu: 1m, memory: 24Mi}
      limits: {memory: 64Mi}
{{- end -}}

{{/*
Whether endpoint-router and token-quota reject gateways without a token: "true" or "false". While pods of a version
without tokens run, they must be served; the next upgrade finds none. Without a cluster there is no look-up.
*/}}
{{- define "arks.gatewayTokenRequired" -}}
{{- if kindIs "bool" .Values.gateway.tokenRequired -}}
{{- .Values.gateway.tokenRequired -}}
{{- else -}}
{{- $old := lookup "apps/v1" "Deployment" .Release.Namespace (printf "%s-gateway" (include "arks.fullname" .)) -}}
{{- or (not $old) (contains "ARKS_GATEWAY_TOKEN" (toJson $old)) -}}
{{- end -}}
{{- end -}}

{{/* The port for clients: {name, number} in the pod, {scheme, outside} at the Service. */}}
{{- define "arks.gatewayPort" -}}
{{- $port := .Values.gateway.service.port -}}
{{- if .Values.gateway.tls.secretName -}}
{name: https, number: 8443, scheme: https, outside: {{ $port | default 443 }}}
{{- else -}}
{name: http, number: 8080, scheme: http, outside: {{ $port | default 80 }}}
{{- end -}}
{{- end -}}

{{- define "arks.gatewayAddress" -}}
{{- $port := include "arks.gatewayPort" . | fromYaml -}}
{{- printf "%s://%s-gateway.%s:%v" $port.scheme (include "arks.fullname" .) .Release.Namespace $port.outside -}}
{{- end -}}

{{/* files/bootstrap.json is the output of endpoint-router's bootstrap; its hosts and memory limit are replaced here. */}}
{{- define "arks.bootstrap" -}}
{{- $host := printf "%s-endpoint-router" (include "arks.fullname" .) -}}
{{- $listen := printf "\"address\": %q" .Values.network.listenAddress -}}
{{- if eq .Values.network.listenAddress "::" -}}
{{- $listen = printf "%s, \"ipv4_compat\": true" $listen -}}
{{- end -}}
{{- $text := .Files.Get "files/bootstrap.json" | replace "endpoint-router.invalid" $host -}}
{{- $text | replace "2147483648" (int64 .Values.gateway.heapBytes | toString) | replace "\"address\": \"0.0.0.0\"" $listen -}}
{{- end -}}
