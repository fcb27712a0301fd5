{{/* Not empty if Helm can see the cluster. */}}
{{- define "arks.hasCluster" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}true{{- end -}}
{{- end -}}

{{/* Preconditions of an installation. Rendering without a cluster skips those that need a cluster. */}}
{{- define "arks.checks" -}}
{{- include "arks.checkValues" . -}}
{{- if include "arks.hasCluster" . -}}
{{- include "arks.checkDefinitions" . -}}
{{- include "arks.checkOtherReleases" . -}}
{{- include "arks.checkSecret" . -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.metricsFrom) -}}
{{- fail "serviceMonitor.enabled: NetworkPolicies would block Prometheus; name it in networkPolicy.metricsFrom" -}}
{{- end -}}
{{- if gt (float64 .Values.nodeCache.lowPercent) (float64 .Values.nodeCache.highPercent) -}}
{{- fail "nodeCache.lowPercent is above nodeCache.highPercent" -}}
{{- end -}}
{{- if and (include "arks.httpRoutes" .) .Values.gateway.tls.secretName -}}
{{- fail "gateway.httpRoutes: a Gateway uses plain HTTP to Envoy, which with gateway.tls serves HTTPS only: configure the certificate at the Gateway" -}}
{{- end -}}
{{- end -}}

{{- define "arks.checkDefinitions" -}}
{{- if not (lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "arksmodels.arks.ai") -}}
{{- fail "this cluster has no CRDs of Arks: install the chart arks-crds first" -}}
{{- end -}}
{{- if not (lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "leaderworkersets.leaderworkerset.x-k8s.io") -}}
{{- fail "LeaderWorkerSet is not installed in this cluster: engines run as LeaderWorkerSets" -}}
{{- end -}}
{{- end -}}

{{/* Pods would wait for missing keys of a Secret of the operator's own. */}}
{{- define "arks.checkSecret" -}}
{{- with .Values.secrets.existingSecret -}}
{{- $data := (lookup "v1" "Secret" $.Release.Namespace .).data | default dict -}}
{{- range $key := concat (list "gateway-token" "operator-token") (ternary (list "node-cache-key") list $.Values.nodeCache.enabled) -}}
{{- if and $data (not (hasKey $data $key)) -}}
{{- fail (printf "secrets.existingSecret: Secret %s has no key %s; add a random value of 32 characters or more" $.Values.secrets.existingSecret $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* One release may serve all namespaces, or several releases one each, but never two releases the same namespace. */}}
{{- define "arks.checkOtherReleases" -}}
{{- $own := printf "%s/%s" .Release.Namespace .Release.Name -}}
{{- $wanted := include "arks.serves" . -}}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "").items -}}
{{- $release := dig "annotations" "arks.ai/release" $own .metadata -}}
{{- $serves := dig "annotations" "arks.ai/serves" "" .metadata -}}
{{- if and (ne $release $own) (or (eq $wanted "*") (eq $serves "*") (eq $serves $wanted)) -}}
{{- fail (printf "release %s already serves %s: uninstall it, or give each release a namespace of its own to serve (watchNamespace)" $release (ternary "all namespaces" (ternary (printf "namespace %s" $serves) (printf "namespaces with %s" $serves) (regexMatch "^[a-z0-9-]+$" $serves)) (eq $serves "*"))) -}}
{{- end -}}
{{- if and (ne $release $own) (hasPrefix (printf "%s/" $.Release.Namespace) $release) -}}
{{- fail (printf "release %s already runs in this namespace: install into another namespace" $release) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A quantity of Kubernetes as a number: "2Gi", "500m", 4. Empty for none. */}}
{{- define "arks.amount" -}}
{{- $text := include "arks.scalar" . -}}
{{- $factor := get (dict "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) (regexFind "[a-zA-Z]+$" $text) | default 1 -}}
{{- if regexMatch "^[0-9]" $text -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) $factor -}}
{{- end -}}
{{- end -}}

{{/* Values that are valid by themselves and cannot be meant together. */}}
{{- define "arks.checkValues" -}}
{{- include "arks.checkMoved" . -}}
{{- range $name, $component := include "arks.components" . | fromYaml -}}
{{- include "arks.checkComponent" (dict "name" $name "component" $component) -}}
{{- end -}}
{{- include "arks.checkGateway" .Values.gateway -}}
{{- range $server := list "nats" "redis" "postgresql" -}}
{{- include "arks.checkServer" (dict "name" $server "values" (index $.Values $server)) -}}
{{- end -}}
{{- include "arks.less" (dict "name" "nats.fileStoreBytes" "value" .Values.nats.fileStoreBytes "of" "nats.persistence.size" "most" (ternary .Values.nats.persistence.size "" .Values.nats.persistence.enabled)) -}}
{{- include "arks.less" (dict "name" "redis.memoryBytes" "value" .Values.redis.memoryBytes "of" "redis.resources.limits.memory" "most" (dig "limits" "memory" "" .Values.redis.resources)) -}}
{{- include "arks.checkTls" . -}}
{{- include "arks.checkNamespaces" . -}}
{{- end -}}

{{/* Settings of token-quota until the usage meter became a program. The schema accepts them there, because its refusal
could not name the service that has them now. */}}
{{- define "arks.checkMoved" -}}
{{- $old := index .Values.services "token-quota" -}}
{{- $moved := list -}}
{{- range $name := list "entries_keep_days" "reservation_seconds" "sweep_seconds" -}}
{{- if hasKey ($old.settings | default dict) $name -}}
{{- $moved = append $moved (printf "services.token-quota.settings.%s is services.usage-meter.settings.%s now" $name $name) -}}
{{- end -}}
{{- range $old.extraEnv -}}
{{- if eq .name (printf "ARKS_%s" (upper $name)) -}}
{{- $moved = append $moved (printf "%s in services.token-quota.extraEnv is services.usage-meter.settings.%s now" .name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $moved -}}
{{- fail (printf "%s: the usage meter is a program of its own, so move the value" (join ", " .)) -}}
{{- end -}}
{{- end -}}

{{/* (name, value, of, most): fails unless value < most. */}}
{{- define "arks.less" -}}
{{- $most := include "arks.amount" .most -}}
{{- if and $most (ge (include "arks.amount" .value | float64) ($most | float64)) -}}
{{- fail (printf "%s (%s) must be less than %s (%s)" .name (include "arks.scalar" .value) .of (toString .most)) -}}
{{- end -}}
{{- end -}}

{{/* (name, component) */}}
{{- define "arks.checkComponent" -}}
{{- $name := .name -}}
{{- $scaling := .component.values.autoscaling | default dict -}}
{{- if $scaling.enabled -}}
{{- if gt ($scaling.minReplicas | float64) ($scaling.maxReplicas | float64) -}}
{{- fail (printf "%s: autoscaling.minReplicas is more than maxReplicas" $name) -}}
{{- end -}}
{{- range .component.containers -}}
{{- if not (dig "requests" "cpu" "" .resources) -}}
{{- fail (printf "%s: autoscaling needs resources.requests.cpu of %s: utilisation is relative to it" $name .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $container := .component.containers -}}
{{- range $resource, $most := dig "limits" (dict) ($container.resources | default dict) -}}
{{- $least := include "arks.amount" (dig "requests" $resource "" $container.resources) -}}
{{- if and $least (gt ($least | float64) (include "arks.amount" $most | float64)) -}}
{{- fail (printf "%s: %s requests more %s than its limit" $name $container.name $resource) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "arks.checkGateway" -}}
{{- include "arks.less" (dict "name" "gateway.heapBytes" "value" .heapBytes "of" "gateway.resources.limits.memory" "most" (dig "limits" "memory" "" .resources)) -}}
{{- $service := .service -}}
{{- if and $service.nodePort (eq $service.type "ClusterIP") -}}
{{- fail "gateway.service.nodePort has no effect with type ClusterIP" -}}
{{- end -}}
{{- if and $service.externalTrafficPolicy (eq $service.type "ClusterIP") -}}
{{- fail "gateway.service.externalTrafficPolicy has no effect with type ClusterIP" -}}
{{- end -}}
{{- range $key := list "loadBalancerClass" "loadBalancerSourceRanges" -}}
{{- if and (index $service $key) (ne $service.type "LoadBalancer") -}}
{{- fail (printf "gateway.service.%s has no effect without type LoadBalancer" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (name, values): what a server of the chart's own and an existing one do not share. */}}
{{- define "arks.checkServer" -}}
{{- $persistence := .values.persistence -}}
{{- if and $persistence.existingClaim (not $persistence.enabled) -}}
{{- fail (printf "%s.persistence.existingClaim has no effect without persistence.enabled" .name) -}}
{{- end -}}
{{- if not .values.external.url -}}
{{- range $key, $value := omit .values.external "url" -}}
{{- if or (and (kindIs "map" $value) $value.name) (and (kindIs "string" $value) $value) -}}
{{- fail (printf "%s.external.%s has no effect without external.url" $.name $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Certificates that no connection would use. */}}
{{- define "arks.checkTls" -}}
{{- $redis := .Values.redis.external -}}
{{- $postgresql := .Values.postgresql.external -}}
{{- range $key := list "caSecret" "certificateSecret" -}}
{{- if and (index $redis $key).name (not (hasPrefix "rediss://" $redis.url)) -}}
{{- fail (printf "redis.external.%s has no effect without TLS: the url has to begin with rediss://" $key) -}}
{{- end -}}
{{- end -}}
{{- if and $postgresql.caSecret.name (not (regexMatch "[?&]ssl=verify-(ca|full)" $postgresql.url)) -}}
{{- fail "postgresql.external.caSecret has no effect unless the url has ssl=verify-full (or verify-ca)" -}}
{{- end -}}
{{- end -}}

{{- define "arks.checkNamespaces" -}}
{{- $own := .Values.watchNamespace -}}
{{- range $name, $selector := dict "watchNamespaceSelector" .Values.watchNamespaceSelector "gateway.httpRoutes.namespaceSelector" .Values.gateway.httpRoutes.namespaceSelector -}}
{{- if and $own $selector -}}
{{- fail (printf "%s: this release serves only %s (watchNamespace), whatever its labels" $name $own) -}}
{{- end -}}
{{- range $selector.matchExpressions -}}
{{- if ne (empty .values) (has .operator (list "Exists" "DoesNotExist")) -}}
{{- fail (printf "%s: %s %s needs values with In and NotIn, and has none otherwise" $name .key .operator) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $namespaces := dict "gateway.httpRoutes.namespaces" .Values.gateway.httpRoutes.namespaces "rbac.secrets.namespaces" .Values.rbac.secrets.namespaces -}}
{{- range $namespace := $namespaces -}}
{{- if and $own (ne $namespace $own) -}}
{{- fail (printf "%s: this release serves only %s (watchNamespace), not %s" $name $own $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
