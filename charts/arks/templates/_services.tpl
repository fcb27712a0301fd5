{{/*
The five services, and the program of token-quota that works by itself. arks.service has what they share,
arks.serviceFacts what differs:
  image      whose image it runs from, if not its own
  settings   of its config.py, besides the shared ones
  servers    that it connects to           engines   true if it connects to engines
  ports      besides `health`
  rules      its rights in the served namespaces, besides writing Kubernetes Events
  onlyReads  true: it elects no leader and writes no Kubernetes Events
  optional   [{name, namespaces, rules}] rights in the namespaces that the operator lists; namespace "": in all
  accepts    [{peers, port}] peers outside of the release that call it
  connects   [{to, port}] other components that it calls
  serves     true if requests wait for it: it stays in service while NATS or a database is unavailable, and stops slowly
*/}}
{{- define "arks.serviceFacts" -}}
{{- $name := include "arks.fullname" . -}}
{{- $ofPostgresql := (include "arks.secretsOf" (dict "root" . "server" "postgresql") | fromJson).names -}}
{{- $storeSecrets := concat (include "arks.secretsOf" (dict "root" . "server" "redis") | fromJson).names (without $ofPostgresql "postgresql-password") -}}
{{- $routesOf := include "arks.labelSelector" .Values.gateway.httpRoutes.namespaceSelector -}}
model-manager:
  module: arks.model_manager.main
  servers: [nats]
  settings:
    worker_image: {{ include "arks.ownImage" (dict "root" . "service" "model-manager") }}
    {{- with .Values.runAsUser }}
    worker_user: {{ int64 . }}
    {{- end }}
    {{- with include "arks.podDefaults" (dict "values" .Values.tenantPods "kind" "downloads") }}
    pod_defaults: {{ . | quote }}
    {{- end }}
    {{- with include "arks.podDefaults" (dict "values" .Values.tenantPods "kind" "engines") }}
    engine_pod_defaults: {{ . | quote }}
    {{- end }}
    {{- if .Values.nodeCache.enabled }}
    node_cache_dir: {{ include "arks.nodeCacheDirectory" . }}
    node_cache_agents: app.kubernetes.io/instance={{ .Release.Name }},app.kubernetes.io/component=node-cache
    node_cache_export_port: {{ int64 .Values.nodeCache.port }}
    {{- end }}
  {{- if .Values.nodeCache.enabled }}
  secrets: [node-cache-key]
  secretSettings: {node_cache_key_file: node-cache-key}
  connects: [{to: node-cache, port: {{ int64 .Values.nodeCache.port }}}]
  {{- end }}
  rules:
    - apiGroups: [arks.ai]
      resources: [arksmodels]
      verbs: [get, list, watch, patch]
    # Where the engines run that need a volume which is bound where the download runs
    - apiGroups: [arks.ai]
      resources: [arksapplications, arksdisaggregatedapplications]
      verbs: [list, watch]
    - apiGroups: [storage.k8s.io]
      resources: [storageclasses]
      verbs: [get]
    - apiGroups: [arks.ai]
      resources: [arksmodels/status]
      verbs: [patch]
    - apiGroups: [arks.ai]
      resources: [arksmodels/finalizers]
      verbs: [update]
    - apiGroups: [""]
      resources: [persistentvolumeclaims]
      verbs: [get, list, watch, create, patch]
    - apiGroups: [batch]
      resources: [jobs]
      verbs: [get, list, watch, create, patch, delete]
    - apiGroups: [""]
      resources: [pods]
      verbs: [list, watch]
    {{- if .Values.fluid.enabled }}
    # Models with storage.fluid
    - apiGroups: [data.fluid.io]
      resources: [datasets, dataloads, alluxioruntimes, juicefsruntimes, jindoruntimes, goosefsruntimes, efcruntimes, thinruntimes]
      verbs: [get, create, patch]
    {{- end }}
    # Progress of a download, and the reason why a PVC is not bound
    - apiGroups: [""]
      resources: [pods/log]
      verbs: [get]
    - apiGroups: [""]
      resources: [events]
      verbs: [list]
app-deployer:
  module: arks.app_deployer.main
  servers: [nats]
  {{- with .Values.runtimeProfiles }}
  config: {{ toYaml . | quote }}
  {{- end }}
  settings:
    {{- if .Values.runtimeProfiles }}
    runtime_profiles: /etc/arks/config/{{ include "arks.configFile" . }}
    {{- end }}
    runtime_default_llamacpp_image: {{ include "arks.ownImage" (dict "root" . "service" "llamacpp") }}
    runtime_default_ark_image: {{ include "arks.ownImage" (dict "root" . "service" "ark-engine") }}
    default_ark_router_image: {{ include "arks.ownImage" (dict "root" . "service" "openai-proxy") }}
    {{- with include "arks.podDefaults" (dict "values" .Values.tenantPods "kind" "engines") }}
    pod_defaults: {{ . | quote }}
    {{- end }}
  rules:
    - apiGroups: [arks.ai]
      resources: [arksapplications, arksdisaggregatedapplications]
      verbs: [get, list, watch, patch]
    - apiGroups: [arks.ai]
      resources: [arksapplications/status, arksdisaggregatedapplications/status]
      verbs: [patch]
    - apiGroups: [arks.ai]
      resources: [arksapplications/finalizers, arksdisaggregatedapplications/finalizers]
      verbs: [update]
    - apiGroups: [leaderworkerset.x-k8s.io]
      resources: [leaderworkersets]
      verbs: [get, list, watch, create, patch, delete]
    # The reason why a pod is not made, or its volume not mounted
    - apiGroups: [""]
      resources: [events]
      verbs: [list]
    # The router of a disaggregated application has its own account, and finds its workers by watching pods
    - apiGroups: [apps]
      resources: [deployments]
      verbs: [get, list, watch, create, patch, delete]
    - apiGroups: [""]
      resources: [serviceaccounts]
      verbs: [get, list, watch, create, patch]
    - apiGroups: [rbac.authorization.k8s.io]
      resources: [roles, rolebindings]
      verbs: [get, list, watch, create, patch]
    # The memory of accelerators, from labels: whether a model fits
    - apiGroups: [""]
      resources: [nodes]
      verbs: [list]
    # LeaderWorkerSet's controller takes over a StatefulSet that has the name of one of its own
    - apiGroups: [apps]
      resources: [statefulsets]
      verbs: [list]
    - apiGroups: [""]
      resources: [services]
      verbs: [get, list, watch, create, patch, delete]
    - apiGroups: [""]
      resources: [pods]
      verbs: [get, list, watch, delete] # of stuck engines
  # How long a replica that has just started needs for its first token
  engines: true
metrics:
  module: arks.metrics.main
  servers: [nats]
  engines: true
  {{- if .Values.horizontalPodAutoscalers.enabled }}
  ports: {external: 6443}
  accepts: [{peers: {{ toJson .Values.networkPolicy.apiServer.peers }}, port: 6443}]
  settings:
    horizontal_pod_autoscalers: true
    external_metrics_host: {{ .Values.network.listenAddress | quote }}
    external_metrics_port: 6443
    external_metrics_service: {{ $name }}-metrics
  {{- end }}
  rules:
    {{- if .Values.horizontalPodAutoscalers.enabled }}
    - apiGroups: [autoscaling]
      resources: [horizontalpodautoscalers]
      verbs: [get, list, watch, create, patch, delete]
    {{- end }}
    - apiGroups: [arks.ai]
      resources: [arksautoscalers]
      verbs: [get, list, watch]
    - apiGroups: [arks.ai]
      resources: [arksautoscalers/status]
      verbs: [patch]
endpoint-router:
  module: arks.endpoint_router.main
  servers: [nats]
  serves: true
  ports: {xds: 18000}
  secrets: [gateway-token, operator-token]
  secretSettings: {gateway_token_file: gateway-token, operator_token_file: operator-token}
  settings:
    {{- if ne (include "arks.gatewayTokenRequired" .) "true" }}
    gateway_token_required: false
    {{- end }}
    xds_host: {{ .Values.network.listenAddress | quote }}
    xds_port: 18000
    gateway_host: {{ .Values.network.listenAddress | quote }}
    gateway_port: {{ (include "arks.gatewayPort" . | fromYaml).number }}
    {{- if .Values.gateway.tls.secretName }}
    gateway_certificate_source: /etc/envoy/certificate.json
    {{- end }}
    token_quota_host: {{ $name }}-token-quota
    token_quota_port: 8090
    usage_log: /var/lib/arks/usage.log
    {{- if .Values.otlpEndpoint }}
    trace_sampling_percent: {{ .Values.tracing.samplingPercent }}
    trace_follow_clients: {{ .Values.tracing.followClients }}
    {{- end }}
    {{- with .Values.gateway.cors.origins }}
    gateway_cors_origins: {{ join "," . | quote }}
    {{- end }}
    {{- with .Values.gateway.httpRoutes.namespaces }}
    http_route_namespaces: {{ join "," . | quote }}
    {{- end }}
    {{- with $routesOf }}
    http_route_namespace_selector: {{ . | quote }}
    {{- end }}
    {{- if include "arks.httpRoutes" . }}
    gateway_service: {{ $name }}-gateway
    gateway_service_port: {{ (include "arks.gatewayPort" $ | fromYaml).outside }}
    {{- end }}
  optional:
    - name: httproutes
      namespaces: {{ ternary (list "") .Values.gateway.httpRoutes.namespaces (ne $routesOf "") | toJson }}
      rules:
        - apiGroups: [gateway.networking.k8s.io]
          resources: [httproutes]
          verbs: [get, create, patch, delete]
    {{- if $routesOf }}
    - name: grants
      namespaces: [{{ .Release.Namespace }}]
      rules:
        - apiGroups: [gateway.networking.k8s.io]
          resources: [referencegrants]
          verbs: [get, list, create, delete]
        # The owner of the grants
        - apiGroups: [""]
          resources: [services]
          resourceNames: [{{ $name }}-gateway]
          verbs: [get]
    {{- end }}
  rules:
    {{- if and $routesOf (not (include "arks.labelSelector" .Values.watchNamespaceSelector)) }}
    - apiGroups: [""]
      resources: [namespaces]
      verbs: [list, watch]
    {{- end }}
    - apiGroups: [arks.ai]
      resources: [arksendpoints]
      verbs: [get, list, watch, patch]
    - apiGroups: [arks.ai]
      resources: [arksendpoints/status]
      verbs: [patch]
token-quota:
  module: arks.token_quota.main
  servers: [nats, redis, postgresql]
  serves: true
  ports: {api: 8090}
  {{- with .Values.networkPolicy.usageFrom }}
  accepts: [{peers: {{ toJson . }}, port: 8090}]
  {{- end }}
  settings:
    {{- if ne (include "arks.gatewayTokenRequired" .) "true" }}
    gateway_token_required: false
    {{- end }}
    api_host: {{ .Values.network.listenAddress | quote }}
    api_port: 8090
    pepper_file: /etc/arks/secrets/pepper
    {{- include "arks.storeSettings" . | nindent 4 }}
  secrets: {{ concat (list "pepper" "gateway-token" "operator-token") $storeSecrets | toJson }}
  secretSettings: {gateway_token_file: gateway-token, operator_token_file: operator-token}
  secretEnv: {PGPASSWORD: postgresql-password}
  env: {{ include "arks.postgresqlFiles" . }}
  {{- if .Values.rbac.secrets.enabled }}
  optional:
    - name: secrets
      namespaces: {{ .Values.rbac.secrets.namespaces | default (list .Values.watchNamespace) | toJson }}
      rules:
        - apiGroups: [""]
          resources: [secrets]
          verbs: [get]
  {{- end }}
  rules:
    - apiGroups: [arks.ai]
      resources: [arkstokens, arksquotas]
      verbs: [get, list, watch]
    - apiGroups: [arks.ai]
      resources: [arkstokens/status, arksquotas/status]
      verbs: [patch]
usage-meter:
  module: arks.token_quota.programs.meter
  image: token-quota
  onlyReads: true
  servers: [nats, redis, postgresql]
  settings:
    {{- include "arks.storeSettings" . | nindent 4 }}
  secrets: {{ toJson $storeSecrets }}
  secretEnv: {PGPASSWORD: postgresql-password}
  env: {{ include "arks.postgresqlFiles" . }}
  rules:
    - apiGroups: [arks.ai]
      resources: [arkstokens, arksquotas]
      verbs: [get, list, watch]
{{- end -}}

{{/* Settings of a program that uses Redis and the ledger. */}}
{{- define "arks.storeSettings" -}}
{{- $name := include "arks.fullname" . -}}
redis_url: {{ .Values.redis.external.url | default (printf "redis://%s-redis:6379" $name) }}
database_url: {{ .Values.postgresql.external.url | default (printf "postgresql+asyncpg://arks@%s-postgresql:5432/arks" $name) }}
{{- range $setting, $value := include "arks.serverSettings" (dict "root" . "server" "redis") | fromJson }}
{{ $setting }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* (values, kind): defaults of pods in the tenants' namespaces as JSON; nothing if there are none. */}}
{{- define "arks.podDefaults" -}}
{{- $all := mergeOverwrite (deepCopy .values.common) (index .values .kind | default dict) -}}
{{- if not (dig "caBundle" "configMap" "" $all) -}}
{{- $all = omit $all "caBundle" -}}
{{- end -}}
{{- $given := dict -}}
{{- range $name, $value := $all -}}
{{- if $value -}}
{{- $_ := set $given $name $value -}}
{{- end -}}
{{- end -}}
{{- if $given -}}
{{- toJson $given -}}
{{- end -}}
{{- end -}}

{{/* (root, name, settings): the environment of every program of Arks; `settings` override the defaults. */}}
{{- define "arks.environment" -}}
{{- $values := .root.Values -}}
{{- $name := include "arks.fullname" .root -}}
{{- $settings := dict
  "nats_url" ($values.nats.external.url | default (printf "nats://%s-nats:4222" $name))
  "http_host" $values.network.listenAddress
  "http_port" 8081
  "state_dir" "/var/lib/arks"
  "log_level" $values.logLevel -}}
{{- $settings = merge $settings (include "arks.serverSettings" (dict "root" .root "server" "nats") | fromJson) -}}
{{- with $values.otlpEndpoint -}}
{{- $_ := set $settings "otlp_endpoint" . -}}
{{- end -}}
{{- range $setting, $value := mergeOverwrite $settings .settings }}
{{ printf "ARKS_%s" (upper $setting) }}: {{ include "arks.scalar" $value | quote }}
{{- end }}
{{- end -}}

{{/* Numbers in values files are floating-point: large integers would print as 1e+09. */}}
{{- define "arks.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* The variables from which the PostgreSQL driver takes its certificates. */}}
{{- define "arks.postgresqlFiles" -}}
{{- $variables := dict "postgresql-ca" "PGSSLROOTCERT" "postgresql-certificate" "PGSSLCERT" "postgresql-certificate-key" "PGSSLKEY" -}}
{{- $found := dict -}}
{{- range $name := (include "arks.secretsOf" (dict "root" . "server" "postgresql") | fromJson).names -}}
{{- with get $variables $name -}}
{{- $_ := set $found . (printf "/etc/arks/secrets/%s" $name) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* (root, name): a service as a component. */}}
{{- define "arks.configFile" -}}config.yaml{{- end -}}

{{- define "arks.service" -}}
{{- $root := .root -}}
{{- $values := index $root.Values.services .name -}}
{{- $facts := index (include "arks.serviceFacts" $root | fromYaml) .name -}}
{{- $settings := dict "platform" "kubernetes" "release_namespace" $root.Release.Namespace -}}
{{- with $root.Values.watchNamespace -}}
{{- $_ := set $settings "watch_namespace" . -}}
{{- end -}}
{{- with include "arks.labelSelector" $root.Values.watchNamespaceSelector -}}
{{- $_ := set $settings "watch_namespace_selector" . -}}
{{- end -}}
{{- range $setting, $secret := $facts.secretSettings -}}
{{- $_ := set $settings $setting (printf "/etc/arks/secrets/%s" $secret) -}}
{{- end -}}
{{- $settings = mergeOverwrite $settings ($facts.settings | default dict) ($values.settings | default dict) -}}
{{- $connections := include "arks.connections" (dict "root" $root "servers" $facts.servers) | fromJson -}}
{{- $api := $root.Values.networkPolicy.apiServer -}}
{{- $reaches := append $connections.reaches (dict "peers" $api.peers "ports" $api.ports) -}}
{{- if $facts.engines -}}
{{- $reaches = append $reaches (dict "peers" $root.Values.networkPolicy.engines) -}}
{{- end -}}
controller: Deployment
replicas: {{ $values.replicas }}
graceSeconds: 30
values: {{ toJson $values }}
ports: {{ merge (dict "health" 8081) ($facts.ports | default dict) | toJson }}
account: true
onlyReads: {{ $facts.onlyReads | default false }}
rules: {{ $facts.rules | default list | toJson }}
optional: {{ $facts.optional | default list | toJson }}
secrets: {{ concat (include "arks.secretsOf" (dict "root" $root "server" "nats") | fromJson).names ($facts.secrets | default list) | toJson }}
connects: {{ concat $connections.connects ($facts.connects | default list) | toJson }}
reaches: {{ toJson $reaches }}
accepts: {{ $facts.accepts | default list | toJson }}
{{- with $facts.config }}
config: {{ . | quote }}
{{- end }}
volumes:
  - name: state
    emptyDir: {}
  {{- if $facts.config }}
  - name: config
    configMap:
      name: {{ include "arks.fullname" $root }}-{{ .name }}
  {{- end }}
containers:
  - name: {{ .name }}
    image: {{ include "arks.ownImage" (dict "root" $root "service" ($facts.image | default .name)) }}
    command: [python, -m, {{ $facts.module }}]
    env:
      {{- include "arks.environment" (dict "root" $root "settings" $settings) | nindent 6 }}
      {{- range $name, $value := $facts.env }}
      {{ $name }}: {{ $value }}
      {{- end }}
    secretEnv: {{ $facts.secretEnv | default dict | toJson }}
    ports: {{ merge (dict "health" 8081) ($facts.ports | default dict) | toJson }}
    mounts: {state: /var/lib/arks, secrets: /etc/arks/secrets{{ if $facts.config }}, config: /etc/arks/config{{ end }}}
    resources: {{ toJson $values.resources }}
    # Restart after a minute without an answer: long enough for a busy node, so only a hung loop fails.
    livenessProbe:
      httpGet: {path: /healthz, port: health}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    {{- if $facts.serves }}
    # Once ready, it stays in service, because requests need it most while another server is unavailable. Only the start
    # waits for NATS or a volume, and it waits long: a restart would not make them faster.
    startupProbe:
      httpGet: {path: /readyz, port: health}
      periodSeconds: 1
      timeoutSeconds: 5
      failureThreshold: 900
    readinessProbe:
      httpGet: {path: /healthz, port: health}
      periodSeconds: 5
      timeoutSeconds: 5
    # Wait until no client sends new requests here
    lifecycle:
      preStop:
        sleep: {seconds: 5}
    {{- else }}
    startupProbe:
      httpGet: {path: /healthz, port: health}
      periodSeconds: 1
      timeoutSeconds: 5
      failureThreshold: 300
    readinessProbe:
      httpGet: {path: /readyz, port: health}
      periodSeconds: 2
      timeoutSeconds: 5
    {{- end }}
{{- end -}}
