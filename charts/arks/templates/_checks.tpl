{{/* Not empty if Helm can see the cluster. */}}
{{- define "arks.hasCluster" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}true{{- end -}}
{{- end -}}

{{/* Preconditions of an installation. Rendering without a cluster skips those that need a cluster. */}}
{{- define "arks.checks" -}}
{{- if include "arks.hasCluster" . -}}
{{- include "arks.checkDefinitions" . -}}
{{- include "arks.checkOtherReleases" . -}}
{{- include "arks.checkSecret" . -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.metricsFrom) -}}
{{- fail "serviceMonitor.enabled: NetworkPolicies would block Prometheus; name it in networkPolicy.metricsFrom" -}}
{{- end -}}
{{- if and .Values.gateway.httpRoutes.namespaces .Values.gateway.tls.secretName -}}
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
{{- range $key := list "gateway-token" "operator-token" -}}
{{- if and $data (not (hasKey $data $key)) -}}
{{- fail (printf "secrets.existingSecret: Secret %s has no key %s; add a random value of 32 characters or more" $.Values.secrets.existingSecret $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* One release may serve all namespaces, or several releases one each, but never two releases the same namespace. */}}
{{- define "arks.checkOtherReleases" -}}
{{- $own := printf "%s/%s" .Release.Namespace .Release.Name -}}
{{- $wanted := .Values.watchNamespace | default "*" -}}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "").items -}}
{{- $release := dig "annotations" "arks.ai/release" $own .metadata -}}
{{- $serves := dig "annotations" "arks.ai/serves" "" .metadata -}}
{{- if and (ne $release $own) (or (eq $wanted "*") (eq $serves "*") (eq $serves $wanted)) -}}
{{- fail (printf "release %s already serves %s: uninstall it, or give each release a namespace of its own to serve (watchNamespace)" $release (ternary "all namespaces" (printf "namespace %s" $serves) (eq $serves "*"))) -}}
{{- end -}}
{{- if and (ne $release $own) (hasPrefix (printf "%s/" $.Release.Namespace) $release) -}}
{{- fail (printf "release %s already runs in this namespace: install into another namespace" $release) -}}
{{- end -}}
{{- end -}}
{{- end -}}
