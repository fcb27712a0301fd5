{{- /* Rights on Arks' resources for those who have `view`, `edit` or `admin` in a namespace. Tokens may contain keys, and
tokens and quotas decide about spending: they are in none of these roles, except that viewers read quotas. This file does
not end in .yaml, because `kubectl apply -f` of this directory applies the definitions alone. */ -}}
{{- if .Values.aggregatedRoles }}
{{- $resources := list "arksapplications" "arksautoscalers" "arksdisaggregatedapplications" "arksendpoints" "arksmodels" }}
{{- range $role, $verbs := dict "view" (list "get" "list" "watch") "edit" (list "create" "update" "patch" "delete" "deletecollection") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: arks-{{ $role }}
  labels:
    app.kubernetes.io/name: arks
    app.kubernetes.io/component: crds
    rbac.authorization.k8s.io/aggregate-to-{{ $role }}: "true"
rules:
  - apiGroups: [arks.ai]
    resources: {{ toJson (eq $role "view" | ternary (append $resources "arksquotas") $resources) }}
    verbs: {{ toJson $verbs }}
{{- end }}
{{- end }}
