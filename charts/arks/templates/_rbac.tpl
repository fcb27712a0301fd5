{{/* (root, name, namespace): metadata of a role. Without `namespace` it is a ClusterRole, whose name must differ from
those of other releases. */}}
{{- define "arks.scope" -}}
{{- $namespace := .namespace | default .root.Values.watchNamespace -}}
{{- if $namespace -}}
name: {{ .name }}
namespace: {{ $namespace }}
{{- else -}}
name: {{ .root.Release.Namespace }}-{{ .name }}
{{- end -}}
{{- end -}}

{{/* (root, name, account, component, namespace): binds the role of this name to the account. */}}
{{- define "arks.binding" }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (ne .namespace "") }}
metadata:
  {{- include "arks.scope" . | nindent 2 }}
  labels:
    {{- include "arks.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "Role" "ClusterRole" (ne .namespace "") }}
  name: {{ (include "arks.scope" . | fromYaml).name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}
