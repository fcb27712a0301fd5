{{/* What has to hold before anything is installed. Rendering without a cluster skips what only a cluster can tell. */}}
{{- define "arks.checks" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}
{{- include "arks.checkDefinitions" . -}}
{{- include "arks.checkOtherReleases" . -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.metricsFrom) -}}
{{- fail "serviceMonitor.enabled: Prometheus could reach nothing; name it in networkPolicy.metricsFrom" -}}
{{- end -}}
{{- if and .Values.gateway.httpRoutes.namespaces .Values.gateway.tls.secretName -}}
{{- fail "gateway.httpRoutes: a Gateway speaks plain HTTP to Envoy, which with gateway.tls speaks HTTPS alone: let the Gateway have the certificate" -}}
{{- end -}}
{{- end -}}

{{- define "arks.checkDefinitions" -}}
{{- if not (lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "arksmodels.arks.ai") -}}
{{- fail "Arks' resources are not defined in this cluster: install the chart arks-crds first" -}}
{{- end -}}
{{- if not (lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "leaderworkersets.leaderworkerset.x-k8s.io") -}}
{{- fail "LeaderWorkerSet is not installed in this cluster: engines run as LeaderWorkerSets" -}}
{{- end -}}
{{- end -}}

{{/* One release may serve all namespaces, or several one each; never two the same one. */}}
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
{{- fail (printf "release %s runs in this namespace already: install into another one" $release) -}}
{{- end -}}
{{- end -}}
{{- end -}}
